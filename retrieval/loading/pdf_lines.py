"""Lines of a PDF page with their place on it, and how they join into paragraphs."""

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import pypdfium2  # type: ignore[import-untyped]  # carries no types
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]  # carries no types

from retrieval.loading.text import clean, join_lines

HYPHEN = "\ufffe"  # pdfium's mark for a hyphen at a line's end
_LINE = re.compile("[^\\s\ufffe][^\r\n\ufffe]*\ufffe?")
_MARKER = re.compile(r"^(?:[•‣◦▪■●○–—*+-]|\(?(?:\d{1,3}|[a-zA-Z])[.)])\s")
_NUMBER = re.compile(r"^\d")
_SENTENCE_END = re.compile(r"[.!?:;。！？][\"'”’)\]]*$")
_LEADERS = re.compile(r"(?:\. ?){4,}|\.{4,}|…{2,}")
_WORD = re.compile(r"\w+(?:-\w+)*")
_WINDOW = 8  # lines before and after, among which the right edge of a column is looked for


@dataclass
class Line:
    """One printed line; places in points, y upwards, x in the direction of reading.

    Lines of one `group` above 0 are one heading.
    """

    text: str
    left: float
    right: float
    bottom: float
    size: float
    group: int = 0
    level: int = 0


def lines_of(page: pypdfium2.PdfPage) -> list[Line]:
    """The lines of a page in the order that pdfium reads them; blank ones are left out."""
    text_page = page.get_textpage()
    text = text_page.get_text_range()
    found: list[Line] = []
    shift = 0  # pdfium counts UTF-16 units
    for match in _LINE.finditer(text):
        found.append(_placed(text_page, match[0].rstrip(), match.start() + shift))
        shift += sum(character > "\uffff" for character in match[0])
    return found


def _placed(text_page: pypdfium2.PdfTextPage, text: str, start: int) -> Line:
    last = start + len(text.rstrip(HYPHEN)) - 1
    first_box, middle_box, last_box = (_box(text_page, at) for at in (start, (start + last) // 2, last))
    size = max(box.top - box.bottom for box in (first_box, middle_box, last_box))
    left, right = first_box.left, last_box.right
    if first_box.left > last_box.left:  # written from right to left
        left, right = -first_box.right, -last_box.left
    return Line(text, left, right, middle_box.bottom, size)


def _box(text_page: pypdfium2.PdfTextPage, at: int) -> pdfium.FS_RECTF:
    """The place of the character at a text index, as high as its font; all zeros if it has none."""
    box = pdfium.FS_RECTF()
    index = pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, at)
    if index >= 0:
        pdfium.FPDFText_GetLooseCharBox(text_page, index, ctypes.byref(box))
    return box


def vocabulary(pages: Sequence[Sequence[Line]]) -> frozenset[str]:
    """The words, plain and hyphenated, that stand within lines: they decide what a hyphen at an end was."""
    return frozenset(word for lines in pages for line in lines for word in _WORD.findall(line.text.lower()))


def paragraphs(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """The lines in groups, each of which is one paragraph, heading or single line."""
    drops = [above.bottom - below.bottom for above, below in pairwise(lines)]
    usual = [drop for drop, line in zip(drops, lines, strict=False) if 0.3 * line.size < drop < 3 * line.size]
    leading = median(usual) if usual else 0.0
    current: list[Line] = []
    for at, line in enumerate(lines):
        if current and not _joins(lines, at - 1, leading):
            yield current
            current = []
        current.append(line)
    if current:
        yield current


def _joins(lines: Sequence[Line], at: int, leading: float) -> bool:
    """Whether the line after `at` goes on with the paragraph of the line at `at`."""
    above, below = lines[at], lines[at + 1]
    if above.group or below.group:
        return above.group == below.group
    if above.text.endswith(HYPHEN):
        return True
    if _stands_alone(lines, at) or max(above.size, below.size) > 1.2 * min(above.size, below.size):
        return False
    drop = above.bottom - below.bottom
    if drop < 0.3 * above.size:  # beside or above: the next column, or another part of the page
        return not _SENTENCE_END.search(above.text) and below.text[0].islower()
    is_apart = drop > 1.25 * leading and drop > 1.3 * above.size
    is_set_in = _SENTENCE_END.search(above.text) and below.left > above.left + 0.8 * above.size
    return not (is_apart or is_set_in or _ended_early(lines, at))


def _stands_alone(lines: Sequence[Line], at: int) -> bool:
    """Whether this line or the next is an entry of a list, of a table of contents or of a table of numbers."""
    above, below = lines[at], lines[at + 1]
    if _MARKER.match(below.text) and not (_NUMBER.match(below.text) and _goes_on(lines, at)):
        return True
    return any(_LEADERS.search(line.text) or _is_numbers(line.text) for line in (above, below))


def _goes_on(lines: Sequence[Line], at: int) -> bool:
    """Whether the line at `at` fills its column amid a sentence, so that a number after it is the sentence's."""
    above, below = lines[at], lines[at + 1]
    return not (
        _MARKER.match(above.text)
        or _SENTENCE_END.search(above.text)
        or abs(below.left - above.left) > 0.3 * above.size
        or _ended_early(lines, at)
    )


def _is_numbers(text: str) -> bool:
    words = text.split()
    return (
        len(words) > 2
        and sum(not word.strip("()").isalpha() and word[-1:].isdecimal() for word in words) > len(words) / 2
    )


def _ended_early(lines: Sequence[Line], at: int) -> bool:
    """Whether the next line's first word would still have fitted on the line: its end is meant."""
    above, below = lines[at], lines[at + 1]
    edge = max(
        (
            line.right
            for line in lines[max(at - _WINDOW, 0) : at + _WINDOW]
            if line.left < above.right
            and line.right > above.left
            and abs(line.left - above.left) < 4 * above.size
        ),
        default=above.right,
    )
    word = below.text.split(" ", 1)[0]
    width = (below.right - below.left) * (len(word) + 1) / max(len(below.text), 1)
    return above.right + width + 0.5 * above.size < edge


def joined(lines: Sequence[Line], words: frozenset[str]) -> str:
    """The text of a paragraph on one line, words that hyphens split at line ends whole again."""
    pieces: list[str] = []
    for line in lines:
        text = clean(line.text) + ("-" if line.text.endswith(HYPHEN) else "")
        if pieces and (mended := _mended(pieces[-1], text, words)):
            pieces[-1] = mended
        else:
            pieces.append(text)
    return join_lines(pieces)


def _mended(before: str, after: str, words: frozenset[str]) -> str | None:
    """Two pieces as one where a hyphen at the end of the first one splits a word; None where not."""
    if not before.endswith("-") or not before[-2:-1].isalnum() or not after[:1].isalnum():
        return None
    head, tail = before[:-1], after
    first, second = re.findall(r"[\w-]+$", head)[0], re.findall(r"^[\w-]+", tail)[0].rstrip("-")
    hyphenated = f"{first}-{second}".lower() in words
    if hyphenated or (not tail[0].islower() and (first + second).lower() not in words):
        return before + tail
    return head + tail
