"""Rows of cells to readable text: each row with the names of its columns, so that it speaks for itself."""

from collections.abc import Iterable, Iterator, Sequence

from retrieval.loading.text import Block

_LONGEST_NAME = 80
_FEW = 2  # columns
_SMALL = 700  # characters: about a chunk
_NUMERIC = frozenset("0123456789.,:/-+%$€£ ")


def blocks(rows: Iterable[Sequence[str]]) -> Iterator[Block]:
    """Each row a paragraph: "Name: Ada; Year: 1815" below a row of names, "Ada | 1815" where there is none.

    Rows are read one at a time and one ahead. Empty rows part tables; a row of one cell above a table
    is its title. Cells are single lines.
    """
    names: list[str] = []
    after_gap = True
    previous: list[str] | None = None  # a row whose part in the table the next one decides
    for row in rows:
        cells = _trimmed(row)
        if not cells:
            yield from _single(previous, names)
            previous, after_gap = None, True
            continue
        if previous is not None:
            if _are_names(previous, cells, sure=not names):
                names, previous = previous, None
            else:
                yield from _single(previous, names)
                previous = None
        if after_gap:
            previous, after_gap = cells, sum(map(bool, cells)) == 1
        else:
            yield from _single(cells, names)
    yield from _single(previous, names)


def line(names: Sequence[str], cells: Sequence[str]) -> str:
    """One row: each cell that is not empty after the name of its column, if it has one."""
    if not names:
        return " | ".join(filter(None, cells))
    padded = [*(name.rstrip(" :") for name in names), *[""] * (len(cells) - len(names))]
    return "; ".join(
        f"{name}: {cell}" if name else cell for name, cell in zip(padded, cells, strict=False) if cell
    )


def _single(row: list[str] | None, names: Sequence[str]) -> Iterator[Block]:
    if row:  # a lone cell amid a wide table is a caption of the rows below it
        is_lone = sum(map(bool, row)) == 1 and len(names) > _FEW
        yield Block(line(() if is_lone else names, row))


def _trimmed(row: Sequence[str]) -> list[str]:
    """The row without the empty cells at its end."""
    end = next((at for at in range(len(row), 0, -1) if row[at - 1]), 0)
    return list(row[:end])


def _are_names(row: Sequence[str], below: Sequence[str], *, sure: bool) -> bool:
    """Whether `row` names the columns of the row `below` it.

    After a gap within a table (not `sure`) only if the rows differ in kind: words above numbers.
    """
    filled = [cell for cell in row if cell]
    if len(filled) < 2 or len({cell.casefold() for cell in filled}) < len(filled):
        return False
    if any(_is_number(cell) or len(cell) > _LONGEST_NAME for cell in filled):
        return False
    if len(filled) < 0.5 * len([cell for cell in below if cell]):
        return False
    return sure or any(name and _is_number(cell) for name, cell in zip(row, below, strict=False))


def _is_number(cell: str) -> bool:
    return any(character.isdigit() for character in cell) and _NUMERIC.issuperset(cell)


def table_lines(rows: Iterable[Sequence[str]]) -> list[str]:
    """A table as it stands amid a text: a line for each row.

    A small one reads as it looks, "Ada | 1815"; in one that will not stay in a single chunk each row
    has the names of its columns.
    """
    found = [list(row) for row in rows]
    found = [row for row in found if any(row)]
    plain = [" | ".join(row) for row in found]
    if sum(map(len, plain)) <= _SMALL or len(found) < 2 or not _are_names(found[0], found[1], sure=True):
        return plain
    return [plain[0], *(line(found[0], row) for row in found[1:])]
