"""Makes a stored text readable: parts to show, blocks to set, a passage to highlight, an outline."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from retrieval import line_breaks
from retrieval.spans import Heading, Page

PART_CHARACTERS = 60_000
LONGEST_OUTLINE = 150

Span = tuple[int, int]
Kind = Literal["heading", "page", "paragraph", "lines", "rows", "verbatim"]

_PARAGRAPH = re.compile(r"[^\n]*\S[^\n]*(?:\n[^\n]*\S[^\n]*)*")
_SET_IN_COLUMNS = re.compile(r"^(?: {2,}|\t)|\S(?: {2,}|\t)\S", re.MULTILINE)


@dataclass(frozen=True)
class Segment:
    """A run of text, highlighted or not; `first` is the one to scroll to."""

    text: str
    marked: bool = False
    first: bool = False


@dataclass(frozen=True)
class Block:
    """A heading, a page's beginning (`number`), a paragraph, lines of a list, rows of a table, or code."""

    kind: Kind
    start: int
    segments: tuple[Segment, ...] = ()
    level: int = 0
    number: int = 0


@dataclass(frozen=True)
class Text:
    """What of a revision the page needs; spans are those of the canonical text."""

    text: str
    pages: Sequence[Page] = ()
    headings: Sequence[Heading] = ()


def parts(text: str, size: int = PART_CHARACTERS) -> list[Span]:
    """Consecutive spans of at most `size` characters that cover the text, cut at blank lines if possible."""
    spans, start = [], 0
    while len(text) - start > size:
        blank = text.rfind("\n\n", start + size // 2, start + size)
        end = blank + 2 if blank >= 0 else start + size
        spans.append((start, end))
        start = end
    return [*spans, (start, len(text))]


def part_at(spans: Sequence[Span], offset: int) -> int:
    """The index of the part that holds the offset; the last for one behind the end."""
    return next((index for index, (_, end) in enumerate(spans) if offset < end), len(spans) - 1)


def blocks(text: Text, window: Span, highlight: Span | None = None) -> list[Block]:
    """The blocks of the window in order; headings and page starts interrupt paragraphs."""
    interruptions: list[tuple[int, int, Page | Heading]] = [
        (page.start, page.start, page) for page in text.pages if window[0] <= page.start < window[1]
    ]
    interruptions += [(h.start, h.end, h) for h in text.headings if window[0] <= h.start < window[1]]
    interruptions.sort(key=lambda item: (item[0], isinstance(item[2], Heading)))
    found: list[Block] = []
    position = window[0]
    for start, end, what in interruptions:
        found += paragraphs(text, (position, start), highlight)
        found.append(interruption(text, what, highlight))
        position = max(position, min(end, window[1]))
    found += paragraphs(text, (position, window[1]), highlight)
    return with_first(found)


def interruption(text: Text, what: Page | Heading, highlight: Span | None) -> Block:
    if isinstance(what, Page):
        return Block("page", what.start, number=what.number)
    return Block(
        "heading", what.start, segments(text.text, (what.start, what.end), highlight), level=what.level
    )


def paragraphs(text: Text, span: Span, highlight: Span | None) -> Iterator[Block]:
    for match in _PARAGRAPH.finditer(text.text, *span):
        start, end = match.span()
        yield Block(kind_of(match[0]), start, segments(text.text, (start, end), highlight))


def kind_of(paragraph: str) -> Kind:
    """Code keeps its columns, lists and definitions their lines; the loaders part a table's cells by " | "."""
    lines = paragraph.split("\n")
    if len(lines) > 1 and all(" | " in line for line in lines):
        return "rows"
    if 2 * len(_SET_IN_COLUMNS.findall(paragraph)) > len(lines):
        return "verbatim"
    return "lines" if line_breaks.are_meant(paragraph) else "paragraph"


def segments(text: str, span: Span, highlight: Span | None) -> tuple[Segment, ...]:
    """The span cut where the highlight begins and ends."""
    start, end = span
    if highlight is None or highlight[1] <= start or end <= highlight[0]:
        return (Segment(text[start:end]),)
    inner = max(start, highlight[0]), min(end, highlight[1])
    pieces = (
        Segment(text[start : inner[0]]),
        Segment(text[inner[0] : inner[1]], marked=True),
        Segment(text[inner[1] : end]),
    )
    return tuple(piece for piece in pieces if piece.text)


def with_first(found: list[Block]) -> list[Block]:
    """Says which marked segment is the first, so that it can carry the anchor."""
    for index, block in enumerate(found):
        for place, segment in enumerate(block.segments):
            if segment.marked:
                changed = list(block.segments)
                changed[place] = Segment(segment.text, marked=True, first=True)
                found[index] = Block(block.kind, block.start, tuple(changed), block.level, block.number)
                return found
    return found


@dataclass(frozen=True)
class OutlineEntry:
    """A heading with the part (from 1) that holds it; `level` counts from 1 without gaps at the top."""

    title: str
    level: int
    part: int
    start: int


def outline(headings: Sequence[Heading], spans: Sequence[Span]) -> list[OutlineEntry]:
    """The headings of the upper levels, as many levels as stay readable."""
    levels = sorted({heading.level for heading in headings})[:3]
    while len(levels) > 1 and sum(h.level in levels for h in headings) > LONGEST_OUTLINE:
        levels.pop()
    chosen = [h for h in headings if h.level in levels][:LONGEST_OUTLINE]
    return [
        OutlineEntry(h.title, levels.index(h.level) + 1, part_at(spans, h.start) + 1, h.start) for h in chosen
    ]


def page_at(pages: Sequence[Page], offset: int) -> int | None:
    """The number of the page that an offset stands on; None where the format has no pages."""
    return next((page.number for page in reversed(pages) if page.start <= offset), None)


def heading_path(headings: Sequence[Heading], offset: int) -> tuple[str, ...]:
    """The titles of the headings that an offset stands under, outermost first."""
    path: list[Heading] = []
    for heading in headings:
        if heading.start > offset:
            break
        path = [above for above in path if above.level < heading.level]
        path.append(heading)
    return tuple(heading.title for heading in path)
