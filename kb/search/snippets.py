"""Cuts a passage to a readable length and finds the words in it that the reader searched for."""

import re
from dataclasses import dataclass

from retrieval.analysis import analyse

WIDTH = 420
_BREAKS = re.compile(r"\s*\n\s*")
_WORD = re.compile(r"\w+(?:[-.@'’]\w+)*")


@dataclass(frozen=True)
class Piece:
    """A run of text; `marked` where it is a word of the query, in any inflection."""

    text: str
    marked: bool = False


def snippet(text: str, query: str, width: int = WIDTH, language: str = "") -> list[Piece]:
    """About `width` characters of `text` around most of the query's words; blank lines closed up, "…" where cut."""
    text = _BREAKS.sub("\n", text.strip())
    terms = set(analyse(query, language))
    hits = [match.span() for match in _WORD.finditer(text) if terms & set(analyse(match[0], language))]
    start, end = window(text, hits, width)
    pieces = [Piece("… ")] if start else []
    position = start
    for left, right in hits:
        if left < start or right > end:
            continue
        pieces += [Piece(text[position:left]), Piece(text[left:right], marked=True)]
        position = right
    pieces += [Piece(text[position:end]), Piece(" …" if end < len(text) else "")]
    return [piece for piece in pieces if piece.text]


def window(text: str, hits: list[tuple[int, int]], width: int) -> tuple[int, int]:
    """The span with most hits; from the text's beginning where that is as good."""
    if len(text) <= width:
        return 0, len(text)
    starts = [0, *(max(0, left - width // 4) for left, _ in hits)]
    best = max(
        starts, key=lambda start: sum(start <= left and right <= start + width for left, right in hits)
    )
    start = word_start(text, best)
    return start, word_start(text, min(start + width, len(text)))


def word_start(text: str, position: int) -> int:
    """The end of the blank before the position, so that no word is cut; 0 and the text's end stay."""
    if position in (0, len(text)):
        return position
    blank = max(text.rfind(gap, max(0, position - 40), position) for gap in " \n")
    return blank + 1 if blank >= 0 else position
