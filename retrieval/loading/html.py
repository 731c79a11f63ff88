"""HTML to readable text: the article without the page's furniture, at any depth of nesting."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from retrieval.loading.decoding import decode
from retrieval.loading.html_blocks import Walker
from retrieval.loading.text import Block, assemble, clean, one_line
from retrieval.spans import LoadedText

MEDIA_TYPE = "text/html"
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
# A <main> with less than this share of the page's text is not where the text is.
_MAIN_SHARE = 0.2


def load(content: bytes) -> LoadedText:
    """The page as text; its title from <title>, or else the first <h1>, or else the first heading."""
    source = _XML_DECLARATION.sub("", clean(decode(content, declares=True)))
    parser = LexborHTMLParser(source)
    text, headings = assemble(_page(parser))
    found = parser.css_first("head > title")
    title = one_line(found.text()) if found else ""
    if not title and headings:
        title = next((entry.title for entry in headings if entry.level == 1), headings[0].title)
    return LoadedText(text, title, MEDIA_TYPE, headings=headings)


def blocks_of_fragment(source: str) -> list[Block]:
    """The blocks of a piece of HTML, as it stands in Markdown."""
    body = LexborHTMLParser(source).body
    return Walker().walk(body) if body else []


def _page(parser: LexborHTMLParser) -> list[Block]:
    body = parser.body
    if body is None:
        return []
    whole = Walker(furniture=False).walk(body)
    for root in _mains(parser):
        # What stands inside the article's own <header> is the article's.
        blocks = Walker(furniture=False).walk(root) if root.tag == "body" else Walker().walk(root)
        if _length(blocks) >= _MAIN_SHARE * _length(whole):
            return blocks
    return whole or Walker().walk(body)  # a page of nothing but furniture is better than none


def _mains(parser: LexborHTMLParser) -> Iterator[LexborNode]:
    """Where the text of the page may be, best first."""
    for selector in ("main", '[role="main"]', "article"):
        found = parser.css(selector)
        if len(found) == 1:
            yield found[0]


def _length(blocks: list[Block]) -> int:
    return sum(len(block.text) for block in blocks)
