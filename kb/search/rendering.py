"""Sets an answer as HTML: Markdown where a model wrote it, plain where it quotes, footnotes in both."""

import re
from collections.abc import Callable, Mapping

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

from kb.search.redaction import REMOVED
from retrieval.answering.citations import Marker, MarkerReader

QUOTING = "extractive"

# No links and no images: what a model writes must not lead or load anything from elsewhere.
_markdown = (
    MarkdownIt("commonmark", {"html": False})
    .enable("table")
    .disable(["link", "image", "autolink", "reference"])
)
_removed = mark_safe('<span class="removed">a source that is gone</span>')  # no input in it

Link = tuple[str, str]
"""Where a footnote leads, and what its source is called."""


def answer_html(text: str, model: str, links: Mapping[int, Link]) -> SafeString:
    """The answer's HTML; `[n]` becomes a footnote where `links` has n, and stays as written elsewhere."""
    notes = Notes(links)
    return plain_html(text, notes.set) if model.startswith(QUOTING) else markdown_html(text, notes.set)


class Notes:
    """Sets markers; the first of each number carries the anchor that its source leads back to."""

    def __init__(self, links: Mapping[int, Link]) -> None:
        self.links = links
        self.seen: set[int] = set()

    def set(self, text: str) -> SafeString:
        """Plain text as HTML, with its markers as links."""
        return mark_safe(_removed.join(map(self.kept, text.split(REMOVED))))  # noqa: S308  # `kept` escapes

    def kept(self, text: str) -> str:
        reader = MarkerReader()
        pieces = [*reader.feed(text), *reader.flush()]
        return "".join(
            self.markers(piece) if isinstance(piece, Marker) else escape(piece) for piece in pieces
        )

    def markers(self, marker: Marker) -> str:
        known = [number for number in marker.numbers if number in self.links]
        if not known:
            return str(escape(marker.blanks + marker.written))
        return "".join(self.link(number) for number in known)

    def link(self, number: int) -> str:
        href, title = self.links[number]
        anchor = "" if number in self.seen else format_html(' id="marker-{}"', number)
        self.seen.add(number)
        return format_html(
            '<sup class="note"><a href="{}" data-note="{}" aria-label="Footnote {}: {}"{}>{}</a></sup>',
            href, number, number, title, anchor, number,
        )  # fmt: skip


def plain_html(text: str, inline: Callable[[str], SafeString]) -> SafeString:
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return mark_safe("".join(f"<p>{inline(words)}</p>" for words in paragraphs if words))  # noqa: S308  # inline escapes


def markdown_html(text: str, inline: Callable[[str], SafeString]) -> SafeString:
    """CommonMark and tables without raw HTML; markers in code are the code's own."""
    tokens = _markdown.parse(text)
    for token in tokens:
        if token.type == "inline":
            token.children = [
                Token("html_inline", "", 0, content=inline(child.content)) if child.type == "text" else child
                for child in token.children or []
            ]
    html: str = _markdown.renderer.render(tokens, _markdown.options, {})
    return mark_safe(html)  # noqa: S308  # raw HTML is off, and inline text is escaped
