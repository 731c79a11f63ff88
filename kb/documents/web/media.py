"""What a reply is, by its media type and its address: the suffix that the loaders know, or none."""

from email.message import Message
from pathlib import PurePath
from types import MappingProxyType

from retrieval.loading import SUFFIXES

_SUFFIX_OF = MappingProxyType(
    {
        "text/html": ".html",
        "application/xhtml+xml": ".html",
        "text/plain": ".txt",
        "text/markdown": ".md",
        "text/x-markdown": ".md",
        "text/x-rst": ".rst",
        "text/prs.fallenstein.rst": ".rst",
        "text/csv": ".csv",
        "application/pdf": ".pdf",
        "application/json": ".json",
        "application/jsonl": ".jsonl",
        "application/x-ndjson": ".jsonl",
        "application/x-jsonlines": ".jsonl",
        "application/epub+zip": ".epub",
        "message/rfc822": ".eml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    }
)
# Servers that know no better say these; then the address is believed.
_VAGUE = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
_LISTINGS = frozenset(
    {"application/rss+xml", "application/atom+xml", "application/rdf+xml", "application/xml", "text/xml"}
    | {"application/feed+json"}
)
# An archive holds documents of its own: those are uploaded, not watched.
_NO_PAGES = frozenset({".zip"})


def media_type(header: str) -> tuple[str, str]:
    """The media type and the charset that a Content-Type names, both in lower case; empty where it names none."""
    message = Message()
    message["Content-Type"] = header or "application/x-none"
    found = message.get_content_type()
    named = message.get_param("charset", "")
    charset = named.strip().lower() if isinstance(named, str) else ""
    return ("" if not header.strip() else found), charset


def page_suffix(kind: str, path: str) -> str | None:
    """The suffix to store a page of this media type under; None for what no loader reads."""
    named = PurePath(path).suffix.lower()
    if kind in _VAGUE and named in SUFFIXES - _NO_PAGES:
        return named
    suffix = _SUFFIX_OF.get(kind)
    return suffix if suffix in SUFFIXES else None


def why_no_page(kind: str, path: str) -> str | None:
    """Why a reply of this media type is not taken as a page, in a sentence; None if it is."""
    if page_suffix(kind, path):
        return None
    if kind in _LISTINGS:
        return "This is a feed or a sitemap, not a page: add it as one."
    return f"Pages of the type {kind or '(none)'} cannot be read."


def in_utf8(body: bytes, kind: str, charset: str) -> bytes:
    """A text in UTF-8 where its charset stands in the reply's header alone, which a file has not.

    The mark in front is what says so to the loaders. What does not fit the named charset stays as it is.
    """
    if not kind.startswith("text/") or charset in {"", "utf-8", "utf8", "us-ascii", "ascii"}:
        return body
    try:
        return body.decode(charset).encode("utf-8-sig")
    except (LookupError, ValueError):
        return body
