"""Markdown to readable text: what a reader sees, without the marks."""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from retrieval.loading.decoding import decode
from retrieval.loading.html import blocks_of_fragment
from retrieval.loading.tables import table_lines
from retrieval.loading.text import Block, assemble, clean, indented, one_line
from retrieval.spans import LoadedText

MEDIA_TYPE = "text/markdown"
_FRONT_MATTER = re.compile(
    r"\A(?P<fence>---|\+\+\+)[ \t]*\n(?P<fields>.*?)\n(?P=fence)[ \t]*(?:\n|\Z)", re.DOTALL
)
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(?P<title>.+)$", re.MULTILINE)
_FIELD = re.compile(r"^[\w-]+[ \t]*[:=]", re.MULTILINE)
_TAG = re.compile(r"</?[A-Za-z][^>]*>|<!--.*?-->", re.DOTALL)
# What is nested deeper than that is left out: the parser recurses.
_MAX_NESTING = 60
_PARSER = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable(["table", "strikethrough"])


def load(content: bytes) -> LoadedText:
    """The document as text; its title from the front matter, or else the first heading."""
    source = clean(decode(content))
    title = ""
    match = _FRONT_MATTER.match(source)
    if match and _FIELD.search(match["fields"]):
        found = _TITLE.search(match["fields"])
        title = one_line(found["title"]).strip("\"'") if found else ""
        source = source[match.end() :]
    text, headings = assemble(_Writer().write(_PARSER.parse(source)))
    if not title and headings:
        title = headings[0].title
    return LoadedText(text, title, MEDIA_TYPE, headings=headings)


class _Writer:
    """Turns markdown-it's flat list of tokens into blocks."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._lists: list[int | None] = []  # for each open list the next number; None has bullets
        self._marker = ""
        self._level = 0
        self._row: list[str] | None = None
        self._rows: list[list[str]] = []

    def write(self, tokens: list[Token]) -> list[Block]:
        for token in tokens:
            self._token(token)
        return self._blocks

    def _token(self, token: Token) -> None:
        match token.type:
            case "heading_open":
                self._level = int(token.tag[1:])
            case "heading_close":
                self._level = 0
            case "bullet_list_open":
                self._lists.append(None)
            case "ordered_list_open":
                self._lists.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
            case "list_item_open":
                self._open_item()
            case "fence" | "code_block":
                self._add(token.content.rstrip("\n"))
            case "html_block":
                self._blocks += blocks_of_fragment(token.content)
            case "tr_open":
                self._row = []
            case "tr_close":
                self._rows.append(self._row or [])
                self._row = None
            case "table_close":
                self._add("\n".join(table_lines(self._rows)))
                self._rows = []
            case "inline":
                self._inline(shown(token.children or []))

    def _open_item(self) -> None:
        number = self._lists[-1]
        self._marker = "- " if number is None else f"{number}. "
        if number is not None:
            self._lists[-1] = number + 1

    def _inline(self, text: str) -> None:
        if self._row is not None:
            self._row.append(one_line(text))
        elif self._level:
            self._add(one_line(text), self._level)
        else:
            self._add(text)

    def _add(self, text: str, level: int = 0) -> None:
        marker, self._marker = self._marker, ""
        margin = "  " * (len(self._lists) - 1 if marker else len(self._lists))
        # A list's items stand line under line; only the first is apart from what is before.
        last = self._blocks[-1].text.lstrip() if self._blocks else ""
        tight = bool(marker) and (len(self._lists) > 1 or bool(re.match(r"-\s|\d+\.\s", last)))
        body = margin + marker + indented(text, margin + "  " * bool(marker))
        self._blocks.append(Block(body, level, title=text if level else "", tight=tight))


def shown(tokens: list[Token]) -> str:
    """Inline tokens as they are read: link texts, code, the words of pictures; no tags."""
    parts: list[str] = []
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                parts.append(token.content)
            case "softbreak":
                parts.append(" ")
            case "hardbreak":
                parts.append("\n")
            case "image":
                parts.append(shown(token.children or []))
            case "html_inline":
                parts.append("\n" if token.content.lower().startswith("<br") else _TAG.sub("", token.content))
    return "".join(parts).strip()
