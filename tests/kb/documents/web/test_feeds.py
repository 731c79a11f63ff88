"""Sitemaps and feeds, good, odd and hostile, to addresses."""

import contextlib
import gzip
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from kb.documents.web import feeds
from kb.documents.web.addresses import web_address
from kb.documents.web.feeds import BadListing, feed, sitemap
from tests.places import ROOT

BASE = web_address("https://example.org/feeds/main.xml")
NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def addresses(listing: feeds.Listing) -> list[str]:
    return [str(entry.address) for entry in listing.entries]


def urlset(*entries: str) -> bytes:
    inner = "".join(f"<url>{entry}</url>" for entry in entries)
    return f'<?xml version="1.0"?>\n<urlset {NAMESPACE}>{inner}</urlset>'.encode()


def test_a_urlset_lists_pages_with_their_dates() -> None:
    listing = sitemap(
        urlset(
            "<loc>https://example.org/a</loc><lastmod>2024-05-01</lastmod>",
            "<loc> https://example.org/b?c=1&amp;d=2 </loc><lastmod>2024-05-01T12:00:00+02:00</lastmod>",
            "<loc>https://example.org/c#part</loc><lastmod>yesterday</lastmod>",
            "<loc>https://example.org/c</loc>",
            "<loc>http://127.1/</loc>",
            "<loc>file:///etc/passwd</loc>",
            "<lastmod>2024-05-01</lastmod>",
        ),
        BASE,
    )
    assert addresses(listing) == [
        "https://example.org/a",
        "https://example.org/b?c=1&d=2",
        "https://example.org/c",
    ]
    assert [entry.changed for entry in listing.entries] == [
        datetime(2024, 5, 1, tzinfo=UTC),
        datetime(2024, 5, 1, 10, tzinfo=UTC),
        None,
    ]
    assert listing.skipped == 2


def test_an_index_lists_sitemaps() -> None:
    inner = "<sitemap><loc>/a.xml</loc></sitemap><sitemap><loc>b.xml.gz</loc></sitemap>"
    body = f"<sitemapindex {NAMESPACE}>{inner}</sitemapindex>"
    listing = sitemap(body.encode(), BASE)
    assert [str(address) for address in listing.sitemaps] == [
        "https://example.org/a.xml",
        "https://example.org/feeds/b.xml.gz",
    ]
    assert not listing.entries


def test_a_sitemap_may_be_a_gzip_file() -> None:
    assert addresses(sitemap(gzip.compress(urlset("<loc>/a</loc>")), BASE)) == ["https://example.org/a"]


def test_a_sitemap_in_no_namespace_and_in_utf16() -> None:
    body = '<?xml version="1.0" encoding="utf-16"?><urlset><url><loc>/ä</loc></url></urlset>'
    assert addresses(sitemap(body.encode("utf-16"), BASE)) == ["https://example.org/%C3%A4"]


LAUGHS = (
    '<!DOCTYPE u [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<html><body>hello</body></html>",
        b"<urlset><url>",
        b'<?xml version="1.0" encoding="no-such"?><urlset/>',
        f"{LAUGHS}<urlset><url><loc>&j;</loc></url></urlset>".encode(),
        b'<!DOCTYPE u [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>',
        gzip.compress(b"<urlset/>", mtime=0)[:-5],
        b"\x1f\x8bnothing",
    ],
)
def test_what_is_no_sitemap_says_so(body: bytes) -> None:
    with pytest.raises(BadListing):
        sitemap(body, BASE)


def test_a_gzip_bomb_is_no_sitemap() -> None:
    with pytest.raises(BadListing, match="50 MB"):
        sitemap(gzip.compress(bytes(60 * 1024 * 1024)), BASE)


def test_no_more_than_the_most_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MOST_ENTRIES", 3)
    assert len(sitemap(urlset(*(f"<loc>/{n}</loc>" for n in range(10))), BASE).entries) == 3


RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><title>A</title><link>https://example.org/a</link><pubDate>Wed, 01 May 2024 12:00:00 +0200</pubDate></item>
<item><title>B</title><link>/b</link></item>
<item><title>C</title></item>
<item><title>D</title><link>http://localhost/</link></item>
<item><title>E</title><link>https://other.example/e</link></item>
</channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><title>A</title><link rel="self" href="/self"/><link href="/a"/><updated>2024-05-01T10:00:00Z</updated></entry>
</feed>"""


def test_rss_links_to_pages() -> None:
    listing = feed(RSS, BASE)
    assert addresses(listing) == ["https://example.org/a", "https://example.org/b", "https://other.example/e"]
    assert listing.entries[0].changed == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert listing.skipped == 1


def test_atom_links_to_pages() -> None:
    [entry] = feed(ATOM, BASE).entries
    assert (str(entry.address), entry.changed) == (
        "https://example.org/a",
        datetime(2024, 5, 1, 10, tzinfo=UTC),
    )


def test_a_feed_without_entries_is_one() -> None:
    assert feed(b"<rss version='2.0'><channel><title>Quiet</title></channel></rss>", BASE).entries == ()


def test_a_feed_in_utf16() -> None:
    body = '<?xml version="1.0" encoding="utf-16"?>' + RSS.decode().split("?>", 1)[1]
    assert addresses(feed(body.encode("utf-16"), BASE))[0] == "https://example.org/a"


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"<html><body>hello</body></html>", b"\xff\xfe\x00", b"{}", b"<urlset/>"]
)
def test_what_is_no_feed_says_so(body: bytes) -> None:
    with pytest.raises(BadListing, match="no feed"):
        feed(body, BASE)


@pytest.mark.parametrize("text", [b"https://example.org/feed.xml", b"/etc/passwd", b"file:///etc/passwd"])
def test_the_parser_never_fetches_or_opens(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feedparser.http.get", lambda *_: pytest.fail("feedparser fetched"))
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("feedparser opened"))
    with pytest.raises(BadListing):
        feed(text, BASE)


@pytest.mark.parametrize(
    "body",
    [
        f'{LAUGHS}<rss version="2.0"><channel><item><link>/&j;</link></item></channel></rss>'.encode(),
        b"\n" * 300_000 + b"<rss version='2.0'><channel/></rss>",
        b"<rss version='2.0'>" + b"\n<!ENTITY " * 50_000,
        b"\n<!DOCTYPE " * 50_000 + b"<rss version='2.0'/>",
    ],
)
def test_hostile_feeds_take_no_time(body: bytes) -> None:
    begun = time.monotonic()
    with contextlib.suppress(BadListing):
        assert len(str(feed(body, BASE))) < 10_000
    assert time.monotonic() - begun < 10


def test_feedparsers_shared_table_is_filled_before_two_threads_can_find_it_half_full() -> None:
    look = (
        "import kb.documents.web.feeds; from feedparser.mixin import _FeedParserMixin as Mixin; "
        "print(len(Mixin._matchnamespaces))"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(told.stdout) > 0
