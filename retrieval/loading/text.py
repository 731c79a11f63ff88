"""The canonical text: which characters it may hold, and how blocks become text and headings."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from retrieval.spans import Heading

_NEWLINES = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPACES = re.compile("[\xa0\u2007\u202f]")
# Control characters but tab and newline; what is invisible and would split a word for a search
# (soft hyphen, zero-width space, word joiner, byte order mark); the two noncharacters.
_DROPPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u2060\ufeff\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_WHITE = re.compile(r"\s+")
_LONG = 1_000_000
# Scripts that are written without spaces between words: a line end inside them is not a space.
_UNSPACED = re.compile("[\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")


@dataclass(frozen=True)
class Block:
    """A piece of text between blank lines, or (`tight`) directly under the one before it.

    `level` 0 is body text; from 1 it is a heading, whose `title` must occur in `text`.
    """

    text: str
    level: int = 0
    title: str = ""
    tight: bool = False


def clean(text: str) -> str:
    """`text` with "\\n" newlines and only characters that are worth keeping."""
    text = _NEWLINES.sub("\n", text)
    text = _SPACES.sub(" ", text)
    text = _DROPPED.sub("", text)
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str) -> str:
    """`text` cleaned, with every run of white space a single space."""
    text = clean(text)
    if len(text) > _LONG:  # a list of its words would take ten times its memory
        return _WHITE.sub(" ", text).strip()
    return " ".join(text.split())


def join_lines(lines: Sequence[str]) -> str:
    """The lines of one paragraph as one line; no space where the script writes none."""
    joined = ""
    for line in filter(None, map(str.strip, lines)):
        if joined and not (_UNSPACED.match(joined[-1]) and _UNSPACED.match(line[0])):
            joined += " "
        joined += line
    return joined


def indented(text: str, by: str) -> str:
    """`text` with `by` before each line but the first and the blank ones."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(by + line if line.strip() else "" for line in rest)])


def assemble(blocks: Iterable[Block]) -> tuple[str, tuple[Heading, ...]]:
    """The blocks as one text, blank lines between them, and where the headings stand in it."""
    pieces: list[str] = []
    headings: list[Heading] = []
    length = 0
    for block in blocks:
        text = clean(block.text).strip("\n").rstrip()
        if not text.strip():
            continue
        if pieces:
            separator = "\n" if block.tight else "\n\n"
            pieces.append(separator)
            length += len(separator)
        if block.level:
            title = clean(block.title).strip() or text.strip()
            headings.append(Heading(block.level, title, length, length + len(text)))
        pieces.append(text)
        length += len(text)
    return "".join(pieces), tuple(headings)
