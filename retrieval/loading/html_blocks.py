"""Walks an HTML tree, without recursion into its depth, and gathers blocks of text."""

import re

from selectolax.lexbor import LexborNode

from retrieval.loading.tables import table_lines
from retrieval.loading.text import Block, clean, indented, one_line

_DROPPED = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "canvas",
        "iframe",
        "object",
        "embed",
        "audio",
        "video",
        "map",
        "head",
        "nav",
        "aside",
        "dialog",
        "button",
        "select",
        "input",
        "textarea",
        "option",
        "datalist",
        "meter",
        "progress",
    }
)
_FURNITURE = frozenset({"header", "footer"})
_FURNITURE_ROLES = frozenset({"navigation", "banner", "contentinfo", "complementary", "search", "dialog"})
_BLOCKS = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "ol",
        "p",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "caption",
        "ul",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "pre",
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BREAK = "\x1f"
_SPACE = re.compile(r"[ \t\r\n\f]+")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


class Walker:
    """Blocks of one subtree; with `furniture=False` also without its page header and footer."""

    def __init__(self, *, furniture: bool = True) -> None:
        self._furniture = furniture
        self._blocks: list[Block] = []
        self._inline: list[str] = []
        self._lists: list[int | None] = []  # for each open list the next number; None has bullets
        self._marker = ""
        self._level = 0
        self._pre = 0
        self._tight = False
        self._header = 0

    def walk(self, root: LexborNode) -> list[Block]:
        """The blocks under `root`, in the order of the page."""
        pending: list[tuple[LexborNode, bool]] = [(root, False)]
        while pending:
            node, leaving = pending.pop()
            if leaving:
                self._leave(node.tag or "")
            elif node.is_text_node:
                self._inline.append(node.text_content or "")
            elif node.is_element_node and not self._is_dropped(node):
                tag = node.tag or ""
                if tag == "table" and not _is_layout(node):
                    self._table(node)
                    continue
                self._enter(node, tag)
                pending.append((node, True))
                children: list[LexborNode] = []
                child = node.first_child
                while child is not None:
                    children.append(child)
                    child = child.next
                pending.extend((child, False) for child in reversed(children))
        self._flush()
        return self._blocks

    def _is_dropped(self, node: LexborNode) -> bool:
        tag = node.tag or ""
        if tag in _DROPPED:
            return True
        if self._header and tag in ("ul", "ol"):
            return True  # menus, also in an article's own header
        attributes = node.attributes
        role = attributes.get("role") or ""
        if (tag in _FURNITURE or role in _FURNITURE_ROLES) and not self._furniture:
            return tag != "header" or node.css_first("h1") is None
        if "hidden" in attributes or attributes.get("aria-hidden") == "true":
            return True
        if tag == "a" and "headerlink" in (attributes.get("class") or ""):
            return True  # the pilcrow that Sphinx puts behind each heading
        return bool(_HIDDEN.search(attributes.get("style") or ""))

    def _enter(self, node: LexborNode, tag: str) -> None:
        if tag == "br":
            self._inline.append("\n" if self._pre else _BREAK)
        elif tag == "img":
            self._inline.append(node.attributes.get("alt") or "")
        if tag not in _BLOCKS:
            return
        self._flush()
        if tag in ("ul", "ol"):
            start = node.attributes.get("start") or ""
            self._lists.append(None if tag == "ul" else int(start) if start.isdecimal() else 1)
        elif tag == "li":
            self._open_item()
        elif tag == "dd":
            self._tight = True
        elif tag == "header":
            self._header += 1
        elif tag == "pre":
            self._pre += 1
        elif tag in _HEADINGS:
            self._level = _HEADINGS[tag]

    def _leave(self, tag: str) -> None:
        if tag not in _BLOCKS:
            return
        self._flush()
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag == "header":
            self._header -= 1
        elif tag == "pre":
            self._pre -= 1
        elif tag in _HEADINGS:
            self._level = 0
        self._tight = False
        if tag == "li":
            self._marker = ""

    def _open_item(self) -> None:
        number = self._lists[-1] if self._lists else None
        self._marker = "- " if number is None else f"{number}. "
        if number is not None:
            self._lists[-1] = number + 1

    def _table(self, table: LexborNode) -> None:
        """One line a row, header and rows together; the caption above."""
        self._flush()
        captions: list[str] = []
        rows: list[list[str]] = []
        for row in table.css("caption, tr"):
            if row.tag == "caption":
                captions.append(_cell(row))
            else:
                rows.append([_cell(cell) for cell in row.iter() if cell.tag in ("td", "th")])
        self._add("\n".join([*filter(None, captions), *table_lines(rows)]))

    def _flush(self) -> None:
        if not self._inline:
            return
        raw, self._inline = "".join(self._inline), []
        if self._pre:
            self._add(clean(raw.replace(_BREAK, "\n")).strip("\n"))
            return
        text = _SPACE.sub(" ", clean_keeping_breaks(raw))
        text = "\n".join(line.strip() for line in text.split(_BREAK)).strip("\n ")
        self._add(one_line(text) if self._level else text)

    def _add(self, text: str) -> None:
        if not text.strip():
            return
        marker, self._marker = self._marker, ""
        depth = min(len(self._lists), 12)
        margin = "  " * max(depth - bool(marker), 0)
        last = self._blocks[-1].text.lstrip() if self._blocks else ""
        tight = self._tight or (bool(marker) and (depth > 1 or bool(re.match(r"-\s|\d+\.\s", last))))
        self._tight = False
        body = margin + marker + indented(text, margin + "  " * bool(marker))
        self._blocks.append(Block(body, self._level, title=text if self._level else "", tight=tight))


def clean_keeping_breaks(raw: str) -> str:
    return _BREAK.join(clean(part) for part in raw.split(_BREAK))


def _is_layout(table: LexborNode) -> bool:
    """Whether the table only places things on the page: others are in it, or it has a single cell."""
    if table.attributes.get("role") == "presentation":
        return True
    return len(table.css("table")) > 1 or len(table.css("td, th")) <= 1


def _cell(cell: LexborNode) -> str:
    return one_line(" ".join(block.text for block in Walker().walk(cell)))
