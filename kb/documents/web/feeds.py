"""Feeds and sitemaps: bytes that were fetched already, to the addresses that they list."""

import calendar
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import struct_time
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import ParseError

import feedparser  # type: ignore[import-untyped]
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse
from django.utils.dateparse import parse_date, parse_datetime

from kb.documents.web.addresses import BadAddress, WebAddress, joined
from kb.documents.web.connecting import TooMuch
from kb.documents.web.fetching import decompressed

# What sitemaps.org allows for one file; feeds of that size are none.
MOST_SITEMAP_BYTES = 50 * 1024 * 1024
MOST_FEED_BYTES = 5 * 1024 * 1024
MOST_ENTRIES = 50_000
# Its first parser fills a table of namespaces that all share: not when two threads begin at once.
feedparser.parse(io.BytesIO(b"<rss/>"))
_GZIP = b"\x1f\x8b"
_SPACES = re.compile(rb"[ \t\r\n]+")


class BadListing(ValueError):
    """What came is no feed or sitemap; says why, for people."""


@dataclass(frozen=True)
class Entry:
    """A page that is listed, and when it changed last, where the listing says so."""

    address: WebAddress
    changed: datetime | None = None


@dataclass(frozen=True)
class Listing:
    """The pages that are listed, each once, and further sitemaps; `skipped` addresses are never fetched."""

    entries: tuple[Entry, ...] = ()
    sitemaps: tuple[WebAddress, ...] = ()
    skipped: int = 0


def gathered(found: Iterator[tuple[str, datetime | None]], base: WebAddress) -> tuple[dict[str, Entry], int]:
    """Entries by address, up to the most that are taken, and how many addresses are never fetched."""
    entries: dict[str, Entry] = {}
    skipped = 0
    for reference, changed in found:
        try:
            entry = Entry(joined(base, reference), changed)
        except BadAddress:
            skipped += 1
            continue
        entries.setdefault(str(entry.address), entry)
        if len(entries) >= MOST_ENTRIES:
            break
    return entries, skipped


# Sitemaps ------------------------------------------------------------------------------------------


def sitemap(body: bytes, base: WebAddress) -> Listing:
    """The pages of a urlset, or the sitemaps of an index. Raises BadListing."""
    content = unpacked(body)
    try:
        kind, found = _located(content)
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise BadListing("This is no sitemap: it is not well-formed XML, or declares entities.") from error
    if kind not in {"urlset", "sitemapindex"}:
        raise BadListing(f"This is no sitemap: it begins with <{kind[:40]}>.")
    entries, skipped = gathered(iter(found), base)
    if kind == "sitemapindex":
        return Listing(sitemaps=tuple(entry.address for entry in entries.values()), skipped=skipped)
    return Listing(tuple(entries.values()), skipped=skipped)


def unpacked(body: bytes) -> bytes:
    """The sitemap itself, where it is a .gz file. Raises BadListing."""
    if not body.startswith(_GZIP):
        return body
    try:
        return b"".join(decompressed([body], "gzip", MOST_SITEMAP_BYTES))
    except TooMuch as error:
        raise BadListing(
            "Unpacked, this sitemap is larger than the 50 MB that a sitemap may have."
        ) from error
    except (zlib.error, EOFError) as error:
        raise BadListing("This sitemap is a damaged gzip file.") from error


def _located(body: bytes) -> tuple[str, list[tuple[str, datetime | None]]]:
    """The name of the root, and each <loc> with its <lastmod>; elements are dropped as soon as they are read."""
    root: Any = None
    found: list[tuple[str, datetime | None]] = []
    for event, element in iterparse(io.BytesIO(body), events=("start", "end"), forbid_dtd=False):
        if root is None:
            root = element
        elif event == "end" and _name(element) in {"url", "sitemap"}:
            inner = {_name(child): (child.text or "").strip() for child in element}
            if inner.get("loc"):
                found.append((inner["loc"], _moment(inner.get("lastmod", ""))))
            root.clear()
            if len(found) >= MOST_ENTRIES:
                break
    return _name(root), found


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _moment(text: str) -> datetime | None:
    """A W3C date or time, in UTC where it names no zone; None for anything else."""
    try:
        if moment := parse_datetime(text):
            return bounded(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        day = parse_date(text)
        return bounded(datetime(day.year, day.month, day.day, tzinfo=UTC)) if day else None
    except (ValueError, OverflowError):
        return None


def bounded(moment: datetime) -> datetime | None:
    """The moment, unless it is one that no page can have changed at."""
    return moment if 1990 <= moment.year <= 2200 else None


# Feeds ---------------------------------------------------------------------------------------------


def feed(body: bytes, base: WebAddress) -> Listing:
    """The pages that an RSS or Atom feed links to. Raises BadListing."""
    parsed = feedparser.parse(
        # As a file: feedparser would take a string for an address to fetch, or for a path to open.
        io.BytesIO(calmed(body)),
        response_headers={"content-location": str(base)},
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    if not parsed.get("version"):
        raise BadListing("This is no feed: neither RSS nor Atom.")
    entries, skipped = gathered(_links(parsed["entries"]), base)
    return Listing(tuple(entries.values()), skipped=skipped)


def calmed(body: bytes) -> bytes:
    """The feed without long runs of spaces and without lines, on which feedparser's patterns take forever."""
    return body if b"\0" in body else _SPACES.sub(b" ", body).strip()


def _links(entries: list[Any]) -> Iterator[tuple[str, datetime | None]]:
    for entry in entries:
        link = entry.get("link")
        if isinstance(link, str) and link:
            named = "updated_parsed" if "updated_parsed" in entry else "published_parsed"
            yield link, _feed_moment(entry.get(named))


def _feed_moment(parts: struct_time | None) -> datetime | None:
    """feedparser's moments are in UTC."""
    try:
        return (
            bounded(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=calendar.timegm(parts)))
            if parts
            else None
        )
    except (ValueError, OverflowError):
        return None


READERS: MappingProxyType[str, Callable[[bytes, WebAddress], Listing]] = MappingProxyType(
    {"sitemap": sitemap, "feed": feed}
)
MOST_BYTES = MappingProxyType({"sitemap": MOST_SITEMAP_BYTES, "feed": MOST_FEED_BYTES})
