"""The body of a reStructuredText section: paragraphs, lists, literal blocks, tables and directives."""

import re
from collections.abc import Callable, Mapping

from retrieval.loading import rst_directives, rst_tables
from retrieval.loading.rst_inline import plain
from retrieval.loading.text import indented, join_lines

SUBSTITUTION = re.compile(r"^ *\.\. \|(?P<name>[^|]+)\| (?:replace|unicode|date)::\s*(?P<text>.*)$")
_DIRECTIVE = re.compile(r"^\.\. (?P<name>(?:[\w.+-]+:)*[\w.+-]+) ?::(?: +(?P<argument>.*)|$)")
_FOOTNOTE = re.compile(r"^\.\. (?P<label>\[[^\]\s]+\])(?: +(?P<text>.*)|$)")
_BULLET = re.compile(r"^(?P<marker>[*+\-•‣⁃])(?: +|$)")
_NUMBER = re.compile(
    r"^(?P<marker>\((?:\d+|#|[a-zA-Z]|[ivxIVX]+)\)|(?:\d+|#|[a-zA-Z]|[ivxIVX]+)[.)])(?: +|$)"
)
_FIELD = re.compile(r"^:(?![\s:])[^:`]+:(?: |$)")
_MAX_DEPTH = 24  # deeper than that is an attack, not a document: its text is kept as it is

Read = tuple[list[str], int]


def is_anchor(line: str) -> bool:
    """Whether the line only names the heading below it: a target, or a marker such as `.. setting:: X`."""
    match = _DIRECTIVE.match(line)
    return line.startswith(".. _") or bool(match and not rst_directives.is_signature(match["name"]))


def take_indented(lines: list[str], at: int, margin: int = 1_000) -> tuple[list[str], int]:
    """The indented and blank lines from `at`, without blank ends; and the line after them.

    Dedented by what all have in common, `margin` at most.
    """
    end = at
    while end < len(lines) and (not lines[end] or lines[end][0] == " "):
        end += 1
    while end > at and not lines[end - 1]:
        end -= 1
    block = lines[at:end]
    while block and not block[0]:
        block = block[1:]
    margin = min([margin, *(len(line) - len(line.lstrip(" ")) for line in block if line)])
    return [line[margin:] for line in block], end


class Body:
    """Reads body elements into blocks of readable text; headings are not its business."""

    def __init__(self, substitutions: Mapping[str, str]) -> None:
        self._substitutions = substitutions
        self._depth = 0

    def inline(self, text: str) -> str:
        return plain(text, self._substitutions)

    def read(self, lines: list[str]) -> list[str]:
        """The blocks of `lines` (no trailing spaces, no tabs), in order."""
        if self._depth >= _MAX_DEPTH:
            return ["\n".join(lines)]
        self._depth += 1
        blocks: list[str] = []
        at = 0
        while at < len(lines):
            if not lines[at]:
                at += 1
                continue
            found, at = self._element(lines, at)
            blocks += (block for block in found if block.strip())
        self._depth -= 1
        return blocks

    def _element(self, lines: list[str], at: int) -> Read:
        line = lines[at]
        if line[0] == " ":  # a block quote
            block, end = take_indented(lines, at)
            return self.read(block), end
        readers: tuple[tuple[bool, Callable[[list[str], int], Read]], ...] = (
            (line == ".." or line.startswith(".. "), self._explicit),
            (line.startswith("__ "), self._target),
            (line.startswith(">>> "), self._verbatim),
            (line.startswith("| "), self._line_block),
            (bool(rst_tables.GRID_BORDER.match(line)), self._grid),
            (bool(rst_tables.SIMPLE_BORDER.match(line)), self._simple_table),
            (bool(_FIELD.match(line)), self._field),
            (_marker(lines, at) is not None, self._list),
        )
        for applies, reader in readers:
            if applies:
                return reader(lines, at)
        return self._paragraph(lines, at)

    def _explicit(self, lines: list[str], at: int) -> Read:
        line = lines[at]
        if line == ".." and not (at + 1 < len(lines) and lines[at + 1]):
            return [], at + 1  # an empty comment, which takes nothing with it
        content, end = take_indented(lines, at + 1)
        if match := _DIRECTIVE.match(line):
            blank = at + 1 < len(lines) and not lines[at + 1]
            directive = rst_directives.split(match["name"], match["argument"] or "", content, blank)
            return rst_directives.render(directive, self), end
        if match := _FOOTNOTE.match(line):
            blocks = self.read([match["text"] or "", *content])
            return [f"{match['label']} {blocks[0]}", *blocks[1:]] if blocks else [], end
        return [], end  # a comment, a target or a substitution's definition

    def _target(self, lines: list[str], at: int) -> Read:
        return [], take_indented(lines, at + 1)[1]

    def _verbatim(self, lines: list[str], at: int) -> Read:
        end = _blank_after(lines, at)
        return ["\n".join(lines[at:end])], end

    def _line_block(self, lines: list[str], at: int) -> Read:
        end = _blank_after(lines, at)
        return [
            "\n".join(self.inline(line.removeprefix("|").removeprefix(" ")) for line in lines[at:end])
        ], end

    def _grid(self, lines: list[str], at: int) -> Read:
        end = at
        while end < len(lines) and lines[end][:1] in ("+", "|"):
            end += 1
        return [self.table(rst_tables.grid(lines[at:end]))], end

    def _simple_table(self, lines: list[str], at: int) -> Read:
        border = at + 1
        while border < len(lines):
            last = border + 1 == len(lines) or not lines[border + 1]
            if rst_tables.SIMPLE_BORDER.match(lines[border]) and last:
                break
            border += 1
        return [self.table(rst_tables.simple(lines[at:border]))], border + 1

    def table(self, rows: list[list[str]]) -> str:
        return "\n".join(rst_tables.row([self.inline(cell) for cell in cells]) for cells in rows)

    def _field(self, lines: list[str], at: int) -> Read:
        content, end = take_indented(lines, at + 1)
        name, _, text = lines[at][1:].partition(":")
        blocks = self.read([text.strip(), *content])
        return [f"{self.inline(name)}: {blocks[0]}", *blocks[1:]] if blocks else [], end

    def _list(self, lines: list[str], at: int) -> Read:
        items: list[str] = []
        kind = _kind(_marker(lines, at))
        while at < len(lines) and (marker := _marker(lines, at)) and _kind(marker) == kind:
            first = lines[at][len(marker) :].lstrip()
            blank = at + 1 < len(lines) and not lines[at + 1]
            content, end = take_indented(lines, at + 1, len(lines[at]) - len(first))
            shown = f"{len(items) + 1}." if "#" in marker else ("-" if len(marker) == 1 else marker)
            body = "\n\n".join(self.read([first, *([""] if blank else []), *content]))
            items.append(f"{shown} {indented(body, '  ')}")
            at = end
            while at < len(lines) and not lines[at]:
                at += 1
        separator = "\n\n" if any("\n\n" in item for item in items) else "\n"
        return [separator.join(items)], at

    def _paragraph(self, lines: list[str], at: int) -> Read:
        end = at
        while end < len(lines) and lines[end] and lines[end][0] != " ":
            end += 1
        paragraph = join_lines(lines[at:end])
        if end == at + 1 and end < len(lines) and lines[end] and not paragraph.endswith("::"):
            content, end = take_indented(lines, end)  # a term and its definition
            return attached(self.inline(paragraph), self.read(content)), end
        if not paragraph.endswith("::"):
            return [self.inline(paragraph)], end
        content, end = take_indented(lines, end)
        paragraph = paragraph[:-2].rstrip() if paragraph[:-2].endswith((" ", ":")) else paragraph[:-1]
        shown = "" if paragraph == ":" else self.inline(paragraph)
        return [shown, "\n".join(content)], end


def attached(line: str, blocks: list[str]) -> list[str]:
    """`blocks` with `line` directly above the first of them."""
    return [f"{line}\n{blocks[0]}", *blocks[1:]] if blocks else [line]


def _blank_after(lines: list[str], at: int) -> int:
    while at < len(lines) and lines[at]:
        at += 1
    return at


def _kind(marker: str | None) -> str:
    """What the markers of one list have in common: the bullet, or that they count."""
    return marker if marker and len(marker) == 1 else "1."


def _marker(lines: list[str], at: int) -> str | None:
    """The bullet or number that begins a list item at line `at`."""
    line = lines[at]
    match = _BULLET.match(line) or _NUMBER.match(line)
    if match is None:
        return None
    below = lines[at + 1] if at + 1 < len(lines) else ""
    # "A. Smith wrote" at the beginning of a paragraph is no list: its next line is not indented.
    if match.re is _NUMBER and below and below[0] != " " and not _NUMBER.match(below):
        return None
    return match["marker"]
