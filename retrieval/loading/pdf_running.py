"""Running heads and feet of a PDF: lines that many pages repeat at their edges, and page numbers."""

import re
from collections import Counter
from collections.abc import Sequence

from retrieval.loading.pdf_lines import Line

_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b")
_EDGE_LINES = 2
_FEWEST_PAGES = 4
_FEWEST_LINES = 4  # on a shorter page they are perhaps all that it says
_SHARE = 0.5


def without_running_lines(pages: Sequence[list[Line]]) -> list[list[Line]]:
    """The pages without the lines that at least half of them have at the same edge, numbers aside."""
    if len(pages) < _FEWEST_PAGES:
        return list(pages)
    edges = [_edges(lines) for lines in pages]
    counts = Counter(key for page in edges for key in set(page.values()))
    running = {key for key, count in counts.items() if count >= max(_SHARE * len(pages), _FEWEST_PAGES - 1)}
    return [
        [line for line in lines if page.get(id(line)) not in running]
        if len(lines) >= _FEWEST_LINES
        else lines
        for lines, page in zip(pages, edges, strict=True)
    ]


def _edges(lines: Sequence[Line]) -> dict[int, str]:
    """For each of the highest and lowest lines (by identity) its edge and its words without numbers."""
    by_height = sorted(lines, key=lambda line: line.bottom)
    found: dict[int, str] = {}
    for edge, some in (("foot", by_height[:_EDGE_LINES]), ("head", by_height[-_EDGE_LINES:])):
        for line in some:
            found[id(line)] = f"{edge} {_DIGITS.sub('#', ' '.join(line.text.lower().split()))}"
    return found
