"""Which lines of a PDF are headings: those its bookmarks name, or else those set larger than the text."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pypdfium2  # type: ignore[import-untyped]  # carries no types

from retrieval.loading.pdf_lines import Line

_LETTERS = re.compile(r"[^\W\d_]")
_WORDS = re.compile(r"\w+")
_NUMBERING = re.compile(
    r"^(?:(?:chapter|section|part|appendix)\s*)?(?:\d+(?:\.\d+)*|[ivxlc]+|[a-z])[.)]?\s+", re.IGNORECASE
)
_LARGER = 1.15
_LONGEST = 160
_MAX_LINES = 3
_MAX_SHARE = 0.25  # more lines than that are not headings, whatever their size
_MAX_LEVEL = 4


def mark_headings(document: pypdfium2.PdfDocument, pages: Sequence[Sequence[Line]]) -> None:
    """Set `group` and `level` of the lines that are headings."""
    if not _mark_outline(document, pages):
        _mark_larger(pages)


def _mark_outline(document: pypdfium2.PdfDocument, pages: Sequence[Sequence[Line]]) -> bool:
    """Mark the bookmarks' titles where they stand as lines on the page they lead to."""
    group = 0
    for level, title, page in _outline(document):
        if not 0 <= page < len(pages):
            continue
        found = _find(pages[page], title)
        if found and not any(line.group for line in found):
            group += 1
            for line in found:
                line.group, line.level = group, level + 1
    return group > 0


def _outline(document: pypdfium2.PdfDocument) -> Iterator[tuple[int, str, int]]:
    for bookmark in document.get_toc():
        target = bookmark.get_dest()
        page = target.get_index() if target else None
        if page is not None:
            yield bookmark.level, bookmark.get_title() or "", page


def _find(lines: Sequence[Line], title: str) -> list[Line]:
    """The lines, up to three in a row, that are `title`; the largest where several are."""
    wanted = {_key(title), _key(_NUMBERING.sub("", title))} - {""}
    matches: list[list[Line]] = []
    for at in range(len(lines)):
        for count in range(1, _MAX_LINES + 1):
            text = " ".join(line.text for line in lines[at : at + count])
            if len(text) > 2 * len(title) + 20:
                break
            if {_key(text), _key(_NUMBERING.sub("", text))} & wanted:
                matches.append(list(lines[at : at + count]))
                break
    return max(matches, key=lambda found: found[0].size, default=[])


def _key(text: str) -> str:
    return "".join(_WORDS.findall(text.casefold()))


def _mark_larger(pages: Sequence[Sequence[Line]]) -> None:
    weights: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            weights[round(line.size, 1)] += len(line.text)
    if not weights:
        return
    body = weights.most_common(1)[0][0]
    runs = [run for lines in pages for run in _large_runs(lines, body)]
    total = sum(len(lines) for lines in pages)
    if not runs or body <= 0 or sum(len(run) for run in runs) > max(_MAX_SHARE * total, 3):
        return
    sizes: list[float] = []
    for size in sorted((run[0].size for run in runs), reverse=True):
        if not sizes or size < 0.95 * sizes[-1]:
            sizes.append(size)
    for group, run in enumerate(runs, 1):
        level = sum(1 for size in sizes if run[0].size < 0.95 * size) + 1
        for line in run:
            line.group, line.level = group, min(level, _MAX_LEVEL)


def _large_runs(lines: Sequence[Line], body: float) -> Iterator[list[Line]]:
    """Lines in a row that are larger than the body text, of one size and close together."""
    run: list[Line] = []
    for line in lines:
        if run and _continues(run[-1], line):
            run.append(line)
            continue
        if _is_heading(run):
            yield run
        run = [line] if line.size >= _LARGER * body else []
    if _is_heading(run):
        yield run


def _continues(above: Line, line: Line) -> bool:
    """Whether `line` is the next line of the same heading: of one size, close, aligned or centred."""
    centres = (above.left + above.right - line.left - line.right) / 2
    aligned = min(abs(above.left - line.left), abs(centres)) < 0.5 * line.size
    drop = above.bottom - line.bottom
    return aligned and abs(line.size - above.size) < 0.05 * line.size and 0 < drop < 1.5 * line.size


def _is_heading(run: Sequence[Line]) -> bool:
    text = " ".join(line.text for line in run)
    return 0 < len(run) <= _MAX_LINES and len(text) <= _LONGEST and len(_LETTERS.findall(text)) >= 2
