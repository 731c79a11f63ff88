"""HTML to readable text: the article without the page's furniture, at any depth of nesting."""

import re
from collections.abc import Iterator
from datetime import datetime

from selectolax.lexbor import LexborHTMLParser, LexborNode

from retrieval.loading.dates import from_iso
from retrieval.loading.decoding import decode
from retrieval.loading.html_blocks import Walker
from retrieval.loading.text import Block, assemble, clean, one_line
from retrieval.spans import LoadedText

MEDIA_TYPE = "text/html"
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
# A <main> with less than this share of the page's text is not where the text is.
_MAIN_SHARE = 0.2
_MOST_METAS = 500
_AUTHORS = ("author", "citation_author", "dc.creator", "dcterms.creator", "article:author", "parsely-author")
_DATES = (
    "article:published_time",
    "citation_publication_date",
    "citation_date",
    "dcterms.created",
    "dc.date",
    "dcterms.date",
    "date",
    "datepublished",
    "pubdate",
    "article:modified_time",
    "dcterms.modified",
    "datemodified",
    "last-modified",
)


def load(content: bytes) -> LoadedText:
    """The page as text; its title from <title>, or else the first <h1>, or else the first heading."""
    parser = _parsed(content)
    text, headings = assemble(_page(parser))
    found = parser.css_first("head > title")
    title = one_line(found.text()) if found else ""
    if not title and headings:
        title = next((entry.title for entry in headings if entry.level == 1), headings[0].title)
    return LoadedText(
        text, title, MEDIA_TYPE, headings=headings, author=_author(parser), written_at=_written_at(parser)
    )


def blocks_of_document(content: bytes) -> list[Block]:
    """The blocks of all that a whole page holds, for what consists of pages: books, messages."""
    body = _parsed(content).body
    return Walker().walk(body) if body else []


def links(content: bytes) -> list[tuple[str, str]]:
    """Target and text of each link of a page, in its order."""
    found = _parsed(content).css("a[href]")
    return [(link.attributes.get("href") or "", link.text()) for link in found]


def blocks_of_fragment(source: str) -> list[Block]:
    """The blocks of a piece of HTML, as it stands in Markdown."""
    body = LexborHTMLParser(source).body
    return Walker().walk(body) if body else []


def _parsed(content: bytes) -> LexborHTMLParser:
    return LexborHTMLParser(_XML_DECLARATION.sub("", clean(decode(content, declares=True))))


def _author(parser: LexborHTMLParser) -> str:
    """Who wrote the page, by the first kind of <meta> that says it."""
    said = _metas(parser)
    return next((", ".join(said[name]) for name in _AUTHORS if name in said), "")


def _written_at(parser: LexborHTMLParser) -> datetime | None:
    """When the page was published, by the first <meta> that gives a sensible date."""
    said = _metas(parser)
    dates = (from_iso(value) for name in _DATES for value in said.get(name, ()))
    return next(filter(None, dates), None)


def _metas(parser: LexborHTMLParser) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for meta in parser.css("meta[content]")[:_MOST_METAS]:
        attributes = meta.attributes
        name = attributes.get("name") or attributes.get("property") or attributes.get("itemprop") or ""
        value = one_line(attributes.get("content") or "")
        # What begins like an address is a link to the author's page.
        if value and not value.startswith(("http://", "https://")):
            found.setdefault(name.lower(), []).append(value)
    return found


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
