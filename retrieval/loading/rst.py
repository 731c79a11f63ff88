"""reStructuredText to readable text, by lines: no directive or role is unknown to it, and nothing fails.

docutils itself needs seconds for a long page, and stops at what only Sphinx or a project's own
extension defines; what is wanted here is the words, the code and the headings.
"""

import re
from collections.abc import Iterator

from retrieval.loading.decoding import decode
from retrieval.loading.rst_body import SUBSTITUTION, Body, is_anchor
from retrieval.loading.rst_inline import plain
from retrieval.loading.text import Block, assemble, clean, one_line
from retrieval.spans import LoadedText

MEDIA_TYPE = "text/x-rst"
_ADORNMENT = re.compile(r"""^([!-/:-@[-`{-~])\1*$""")
_MARKUP = re.compile(
    r"^ *\.\. (?:[\w.+-]+:)*[\w.+-]+ ?::(?: |$)|^ *\.\. _[^:\n]+:|(?<![\w:`]):[a-z]+(?:[:-][a-z]+)*:`[^`\n]",
    re.MULTILINE,
)
_MARKDOWN = re.compile(r"^(?:```|~~~|#{1,6} )", re.MULTILINE)
_NOT_TITLE = re.compile(r"^(?:\.\. |[-*+|] |>>> |:[\w ]+: )")


def load(content: bytes) -> LoadedText:
    """The document as readable text; its title is the first heading."""
    return from_text(clean(decode(content)))


def from_text(text: str) -> LoadedText:
    """As `load`, of text that is decoded and clean."""
    lines = [line.rstrip() for line in text.expandtabs(8).split("\n")]
    found, headings = assemble(_blocks(lines))
    return LoadedText(found, headings[0].title if headings else "", MEDIA_TYPE, headings=headings)


def looks_like(text: str) -> bool:
    """Whether a text without a telling name is reStructuredText: its markup, or underlined titles."""
    marks = sum(1 for _ in zip(_MARKUP.finditer(text), range(3), strict=False))
    if marks >= 3:
        return True
    if _MARKDOWN.search(text):
        return False
    lines = text.split("\n")
    titles = [
        i for i in range(len(lines) - 1) if (found := heading_at(lines, i)) and _measured(lines, i, found[2])
    ]
    return bool(titles) and (marks > 0 or titles[0] <= 1 or len(titles) > 1)


def _measured(lines: list[str], at: int, taken: int) -> bool:
    title, underline = lines[at + taken - 2].strip(), lines[at + taken - 1].strip()
    return len(underline) >= 3 and 0 <= len(underline) - len(title) <= 2


def heading_at(lines: list[str], at: int) -> tuple[str, tuple[str, bool], int] | None:
    """The title, its style (adornment, overlined) and its number of lines, if one begins at line `at`."""
    line = lines[at].rstrip()
    following = [entry.rstrip() for entry in lines[at + 1 : at + 3]]
    if not line or line[0] == " " or not following:
        return None
    if _ADORNMENT.match(line):
        if len(following) < 2 or not _underlines(following[1], following[0]):
            return None
        overlined = following[1][0] == line[0] and len(line) == len(following[1])
        return (following[0].strip(), (line[0], True), 3) if overlined else None
    if at and lines[at - 1].strip() and not _ADORNMENT.match(lines[at - 1].rstrip()):
        return None
    if _NOT_TITLE.match(line) or not _underlines(following[0], line):
        return None
    return line, (following[0][0], False), 2


def _underlines(line: str, title: str) -> bool:
    title = title.strip()
    if not title or not _ADORNMENT.match(line) or _ADORNMENT.match(title):
        return False
    return len(line) >= len(title) or len(line) >= 4


def _blocks(lines: list[str]) -> Iterator[Block]:
    substitutions = {
        match["name"].lower(): one_line(match["text"])
        for line in lines
        if (match := SUBSTITUTION.match(line))
    }
    styles: list[tuple[str, bool]] = []
    section: list[str] = []
    at = 0
    while at < len(lines):
        found = heading_at(lines, at)
        if found is None:
            if not (_ADORNMENT.match(lines[at]) and len(lines[at]) >= 4):  # a transition is no text
                section.append(lines[at])
            at += 1
            continue
        yield from _section(section, substitutions, before_heading=True)
        section = []
        title, style, taken = found
        if style not in styles:
            styles.append(style)
        yield Block(one_line(plain(title, substitutions)), level=styles.index(style) + 1)
        at += taken
    yield from _section(section, substitutions, before_heading=False)


def _section(lines: list[str], substitutions: dict[str, str], *, before_heading: bool) -> Iterator[Block]:
    """The body between two headings, without the anchors that belong to the heading after it."""
    if before_heading:
        while lines and (not lines[-1] or is_anchor(lines[-1])):
            lines.pop()
    for text in Body(substitutions).read(lines):
        yield Block(text)
