"""Reads the citation markers out of an answer while it streams."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LONGEST_MARKER = 80
LONGEST_CODE = 2000

NUMBER = r"\^?\d{1,3}"
MARKER = re.compile(
    rf"\[[ ]*({NUMBER}(?:[ ]*[,;–—-][ ]*{NUMBER})*)[ ]*\]"
    rf"|【[ ]*({NUMBER}(?:[ ]*[,;–—-][ ]*{NUMBER})*)[ ]*(?:†[^】\n]*)?】"
)
UNFINISHED_MARKER = re.compile(r"\[[\d ^,;–—-]*\Z|【[\d ^,;–—-]*(?:†[^】\n]*)?\Z")
FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^\n]*)")
UNFINISHED_FENCE = re.compile(r"[ \t]*(?:`{0,2}|~{0,2}|`{3,}[^\n]*|~{3,}[^\n]*)\Z")
SPECIAL = re.compile(r"[ \t]{0,8}(?:[\[【]|\Z)|`+|\n")
WORD_JOINER = "\u2060"


@dataclass(frozen=True)
class Marker:
    """A marker as it was written, with the blanks before it, and the numbers it names."""

    blanks: str
    written: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Reference:
    """A marker that names a given source; `source` counts from 1."""

    source: int


class MarkerReader:
    """Parts streamed text into text and markers, the same however the stream was cut.

    Understands [1], [1][2], [1, 2], [1-3] and 【1】. In inline and fenced code brackets are the
    code's own. What may yet become a marker or code is held back until it is decided or flushed.
    """

    def __init__(self) -> None:
        self._held = ""
        self._fence = ""
        self._at_line_start = True

    def feed(self, text: str) -> Iterator[str | Marker]:
        self._held += text
        return self._read(final=False)

    def flush(self) -> Iterator[str | Marker]:
        return self._read(final=True)

    def _read(self, final: bool) -> Iterator[str | Marker]:
        """Yields what is decided; a step that needs more text to decide takes nothing."""
        at = 0
        while at < len(self._held):
            if self._fence:
                after, pieces = self._step_in_fence(at, final)
            elif self._at_line_start:
                after, pieces = self._step_at_line_start(at, final)
            else:
                after, pieces = self._step(at, final)
            if after < 0:
                break
            yield from pieces
            at = after
        self._held = self._held[at:]

    def _step_in_fence(self, at: int, final: bool) -> tuple[int, list[str | Marker]]:
        end = self._held.find("\n", at)
        if end < 0 and not final:
            return -1, []
        line = self._held[at:] if end < 0 else self._held[at : end + 1]
        closing = FENCE.match(line)
        if closing and closing[1].startswith(self._fence) and not closing[2].strip():
            self._fence = ""
            self._at_line_start = True
        return at + len(line), [line]

    def _step_at_line_start(self, at: int, final: bool) -> tuple[int, list[str | Marker]]:
        """Opens a fence, or finds that the line is an ordinary one."""
        if not final and UNFINISHED_FENCE.match(self._held, at):
            return -1, []
        opening = FENCE.match(self._held, at)
        if opening and not (opening[1][0] == "`" and "`" in opening[2]):
            self._fence = opening[1]
            # The newline goes with the opening line, so that what follows is a whole line of code.
            end = min(opening.end() + 1, len(self._held))
            return end, [self._held[at:end]]
        self._at_line_start = False
        return at, []

    def _step(self, at: int, final: bool) -> tuple[int, list[str | Marker]]:
        special = SPECIAL.search(self._held, at)
        if not special or special.start() > at:
            begin = special.start() if special else len(self._held)
            return begin, [self._held[at:begin]]
        found = special[0]
        if found == "\n":
            self._at_line_start = True
            return at + 1, [found]
        if found[0] == "`":
            return self._step_code(at, special.end(), final)
        if found[-1] in "[【":
            return self._step_marker(at, special.end() - 1, final)
        return (len(self._held), [found]) if final else (-1, [])

    def _step_code(self, at: int, after: int, final: bool) -> tuple[int, list[str | Marker]]:
        """Inline code ends with as many backticks as it began with, on the same line; else it is none."""
        if after == len(self._held) and not final:
            return -1, []
        limit = after + LONGEST_CODE
        ticks = self._held[at:after]
        closing = re.compile(rf"(?<!`){ticks}(?!`)").search(self._held, after, limit)
        line_end = self._held.find("\n", after, limit)
        if closing and not 0 <= line_end < closing.start():
            if closing.end() == len(self._held) and not final:
                return -1, []
            return closing.end(), [self._held[at : closing.end()]]
        if line_end < 0 and len(self._held) <= limit and not final:
            return -1, []
        return after, [ticks]

    def _step_marker(self, at: int, bracket: int, final: bool) -> tuple[int, list[str | Marker]]:
        limit = bracket + LONGEST_MARKER
        marker = MARKER.match(self._held, bracket, limit)
        blanks = self._held[at:bracket]
        if marker:
            return marker.end(), [Marker(blanks, marker[0], _numbers(marker[1] or marker[2]))]
        if not final and len(self._held) < limit and UNFINISHED_MARKER.match(self._held, bracket):
            return -1, []
        return bracket + 1, [self._held[at : bracket + 1]]


class MarkerFilter:
    """Lets text and references to `sources` numbered sources through.

    Numbers that name no given source are dropped and counted in `removed`; a marker that is left
    with none goes altogether, with the blanks before it.
    """

    def __init__(self, sources: int) -> None:
        self.sources = sources
        self.removed = 0
        self._reader = MarkerReader()

    def feed(self, text: str) -> list[str | Reference]:
        return list(_joined(self._filtered(self._reader.feed(text))))

    def flush(self) -> list[str | Reference]:
        return list(_joined(self._filtered(self._reader.flush())))

    def _filtered(self, pieces: Iterable[str | Marker]) -> Iterator[str | Reference]:
        for piece in pieces:
            if isinstance(piece, str):
                yield piece
                continue
            known = [number for number in piece.numbers if 1 <= number <= self.sources]
            self.removed += len(piece.numbers) - len(known)
            if known:
                yield piece.blanks
            yield from map(Reference, known)


def disarm(text: str) -> str:
    """The text with an invisible word joiner in whatever would read as a marker outside code.

    For words quoted from a source, whose own "[3]" is no footnote of the answer.
    """
    reader = MarkerReader()
    pieces: list[str] = []
    for piece in (*reader.feed(text), *reader.flush()):
        if isinstance(piece, Marker):
            pieces += [piece.blanks, piece.written[0], WORD_JOINER, piece.written[1:]]
        else:
            pieces.append(piece)
    return "".join(pieces)


def _numbers(written: str) -> tuple[int, ...]:
    """Each number once, in order; a range is all that lies in it, a backward one only its ends."""
    named: dict[int, None] = {}
    for part in re.split(r"[,;]", re.sub(r"[ ^]", "", written)):
        ends = [int(number) for number in re.split(r"[–—-]", part)]
        named.update(dict.fromkeys(range(ends[0], ends[-1] + 1) or ends))
    return tuple(named)


def _joined(pieces: Iterable[str | Reference]) -> Iterator[str | Reference]:
    """Neighbouring texts as one, empty ones left out."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
            text = ""
        yield piece
    if text:
        yield text
