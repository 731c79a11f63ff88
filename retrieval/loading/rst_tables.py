"""Tables of reStructuredText, grid and simple: one line a row, cells apart by " | "."""

import re

GRID_BORDER = re.compile(r"^\+(?:[-=]+\+)+$")
SIMPLE_BORDER = re.compile(r"^=+(?: +=+)+$")
_SPAN_LINE = re.compile(r"^[-=]+(?: +[-=]+)*$")


def row(cells: list[str]) -> str:
    """One line, without the empty cells at its end."""
    return " | ".join(" ".join(cell.split()) for cell in cells).rstrip(" |")


def grid(lines: list[str]) -> list[list[str]]:
    """Rows of cells of a grid table; a cell that spans columns stands once."""
    edges = [at for at, mark in enumerate(lines[0]) if mark == "+"]
    rows: list[list[str]] = []
    current: list[list[str]] = []
    for line in lines[1:]:
        if line.startswith("+"):
            if current:
                rows.append(_merged(current))
            current = []
        else:
            current.append(_cut(line, edges))
    if current:
        rows.append(_merged(current))
    return rows


def _cut(line: str, edges: list[int]) -> list[str]:
    """The line's part of each column; what spans columns is in the first of them."""
    cells: list[str] = []
    start, spanned = edges[0] + 1, 0
    for edge in edges[1:]:
        if edge < len(line) and line[edge] not in "|+" and edge != edges[-1]:
            spanned += 1  # no border here: the cell goes on into the next column
            continue
        cells += [line[start:edge], *[""] * spanned]
        start, spanned = edge + 1, 0
    return cells


def _merged(lines: list[list[str]]) -> list[str]:
    return [" ".join(part.strip() for part in column if part.strip()) for column in zip(*lines, strict=True)]


def simple(lines: list[str]) -> list[list[str]]:
    """Rows of cells of a simple table, given from its first border line to before its last."""
    starts = [match.start() for match in re.finditer(r"=+", lines[0])]
    rows: list[list[str]] = []
    for line in lines[1:]:
        if not line.strip() or _SPAN_LINE.match(line.strip()):
            continue
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if not cells[0] and rows:  # a blank first column continues the row above
            rows[-1] = [f"{above} {cell}".strip() for above, cell in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    return rows
