"""Sitemaps and feeds list pages, which come and go: against a real server and database."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from kb.core.models import Collection, User
from kb.documents import sources
from kb.documents.models import Document, Source, WebPage
from kb.documents.source_actions import add_source, check_now
from kb.documents.web import listings
from kb.documents.web.fetching import Fetcher
from tests.kb.documents.web.conftest import Server

pytestmark = pytest.mark.django_db

Visit = Callable[[], None]
XML = "application/xml"


def urlset(server: Server, *paths: str, date: str = "", host: str = "site.example") -> str:
    lastmod = f"<lastmod>{date}</lastmod>" if date else ""
    inner = "".join(f"<url><loc>{server.url(path, host)}</loc>{lastmod}</url>" for path in paths)
    return f"<urlset>{inner}</urlset>"


def index_of(server: Server, *paths: str) -> str:
    inner = "".join(f"<sitemap><loc>{server.url(path, 'site.example')}</loc></sitemap>" for path in paths)
    return f"<sitemapindex>{inner}</sitemapindex>"


def rss(server: Server, *paths: str) -> str:
    items = "".join(f"<item><link>{server.url(path, 'site.example')}</link></item>" for path in paths)
    return f'<rss version="2.0"><channel><title>News</title>{items}</channel></rss>'


def paths(source: Source) -> list[str]:
    return ["/" + url.split("/", 3)[3] for url in source.pages.values_list("url", flat=True)]


@pytest.fixture
def source(alice: User, collection: Collection, server: Server) -> Source:
    """A sitemap of two pages."""
    server.page("/sitemap.xml", urlset(server, "/a", "/b"), Content_Type=XML, ETag='"1"')
    for path in "abc":
        server.page(f"/{path}", f"<p>This is page {path}.</p>")
    return add_source(alice, collection, server.url("/sitemap.xml", "site.example"))


def test_a_sitemap_brings_in_its_pages(source: Source, visit: Visit, server: Server) -> None:
    assert source.kind == "sitemap"
    visit()
    source.refresh_from_db()
    assert paths(source) == ["/a", "/b"]
    assert (source.state, source.error, source.reading) == (Source.State.READ, "", {})
    assert source.last_checked_at is not None
    assert Document.objects.filter(upload=source.upload).count() == 2
    assert sorted(server.asked) == ["/a", "/b", "/robots.txt", "/sitemap.xml"]


def test_an_unchanged_sitemap_is_not_sent_again(source: Source, visit: Visit, server: Server) -> None:
    visit()
    visit()
    again = [
        headers.get("If-None-Match")
        for headers, path in zip(server.headers, server.asked, strict=True)
        if path == "/sitemap.xml"
    ]
    assert again == [None, '"1"']
    assert source.pages.count() == 2


def test_checking_twice_lists_once(source: Source, fetcher: Fetcher, later: Callable[[], None]) -> None:
    assert listings.check(source.pk, fetcher) is None
    assert listings.check(source.pk, fetcher) is None, "it is not due any more"
    later()
    listings.check(source.pk, fetcher)
    assert source.pages.count() == 2


def test_new_pages_come_in_and_old_ones_vanish_when_the_server_says_so(
    source: Source, visit: Visit, server: Server
) -> None:
    visit()
    server.page("/sitemap.xml", urlset(server, "/a", "/c"), Content_Type=XML)
    visit()
    assert paths(source) == ["/a", "/b", "/c"], "what is listed no longer may be there all the same"
    del server.pages["/b"]
    visit()
    vanished = source.pages.filter(vanished_at__isnull=False)
    assert [page.url for page in vanished] == [server.url("/b", "site.example")]


def test_pages_that_are_said_to_have_changed_are_looked_at_first(
    source: Source, visit: Visit, server: Server, fetcher: Fetcher, later: Callable[[], None]
) -> None:
    visit()
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    server.page("/sitemap.xml", urlset(server, "/a", date=tomorrow), Content_Type=XML)
    later()
    WebPage.objects.update(next_at=timezone.now() + timedelta(hours=20))
    listings.check(source.pk, fetcher)
    assert [page.url for page in sources.due_pages()] == [server.url("/a", "site.example")]


def test_other_hosts_are_left_out_unless_they_are_wanted(
    alice: User, collection: Collection, server: Server, visit: Visit
) -> None:
    server.page("/sitemap.xml", urlset(server, "/a", host="other.example"), Content_Type=XML)
    server.page("/wide.xml", urlset(server, "/a", host="other.example"), Content_Type=XML)
    server.page("/a", "<p>elsewhere</p>")
    near = add_source(alice, collection, server.url("/sitemap.xml", "site.example"))
    wide = add_source(
        alice, collection, server.url("/wide.xml", "site.example"), kind="sitemap", other_hosts=True
    )
    visit()
    assert (near.pages.count(), wide.pages.count()) == (0, 1)


def test_an_index_is_read_file_by_file(source: Source, server: Server, visit: Visit) -> None:
    server.page("/sitemap.xml", index_of(server, "/one.xml", "/two.xml", "/broken.xml"), Content_Type=XML)
    server.page("/one.xml", urlset(server, "/a"), Content_Type=XML)
    server.page("/two.xml", urlset(server, "/b", "/c"), Content_Type=XML)
    server.page("/broken.xml", "<urlset>", Content_Type=XML)
    visit()
    source.refresh_from_db()
    assert paths(source) == ["/a", "/b", "/c"]
    assert source.state == Source.State.FAILED
    assert "no sitemap" in source.error
    assert source.etag == ""
    assert source.reading == {}


def test_between_two_files_the_rest_is_remembered(source: Source, server: Server, fetcher: Fetcher) -> None:
    server.page("/sitemap.xml", index_of(server, "/one.xml", "/two.xml"), Content_Type=XML)
    assert listings.check(source.pk, fetcher) == 1.0
    source.refresh_from_db()
    assert [url.rsplit("/", 1)[1] for url, _ in source.reading["left"]] == ["one.xml", "two.xml"]
    assert source.next_at - timezone.now() < timedelta(seconds=2)


def test_an_index_in_circles_ends(source: Source, server: Server, visit: Visit) -> None:
    server.page("/sitemap.xml", index_of(server, "/sitemap.xml", "/sitemap.xml?b"), Content_Type=XML)
    server.page("/sitemap.xml?b", index_of(server, "/sitemap.xml"), Content_Type=XML)
    visit()
    assert server.asked.count("/sitemap.xml") + server.asked.count("/sitemap.xml?b") <= 7
    source.refresh_from_db()
    assert source.reading == {}


def test_an_index_of_too_many_files_is_cut(
    source: Source, server: Server, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "MOST_SITEMAPS", 3)
    server.page("/sitemap.xml", index_of(server, *(f"/{n}.xml" for n in range(9))), Content_Type=XML)
    for n in range(9):
        server.page(f"/{n}.xml", urlset(server), Content_Type=XML)
    visit()
    source.refresh_from_db()
    assert len([path for path in server.asked if path.endswith(".xml")]) == 3
    assert "others are left out" in source.error


def test_no_more_pages_than_the_most(
    source: Source, server: Server, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings, "MOST_PAGES", 5)
    server.page("/sitemap.xml", urlset(server, *(f"/{n}" for n in range(9))), Content_Type=XML)
    visit()
    source.refresh_from_db()
    assert source.pages.count() == 5
    assert "the others are left out" in source.error


def test_a_thousand_pages_are_listed_in_few_statements(
    source: Source, server: Server, fetcher: Fetcher, django_assert_max_num_queries: object
) -> None:
    server.page("/sitemap.xml", urlset(server, *(f"/{n}" for n in range(1000))), Content_Type=XML)
    with django_assert_max_num_queries(40):
        listings.check(source.pk, fetcher)
    assert source.pages.count() == 1000


def test_a_page_of_two_sources_comes_in_once(
    alice: User, collection: Collection, source: Source, server: Server, visit: Visit
) -> None:
    single = add_source(alice, collection, server.url("/a", "site.example"), kind="page")
    visit()
    assert paths(source) == ["/b"]
    assert single.pages.get().document is not None
    assert Document.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [("<html>no</html>", 200, "no sitemap"), ("", 404, "404"), ("", 500, "500"), ("", 403, "403")],
)
def test_a_sitemap_that_cannot_be_read_says_why_and_is_tried_again(
    source: Source, server: Server, visit: Visit, body: str, status: int, said: str
) -> None:
    server.page("/sitemap.xml", body, status=status)
    visit()
    source.refresh_from_db()
    assert source.state == Source.State.FAILED
    assert said in source.error
    assert source.next_at > timezone.now()
    server.page("/sitemap.xml", urlset(server, "/a"), Content_Type=XML)
    visit()
    source.refresh_from_db()
    assert (source.state, source.error, source.attempts) == (Source.State.READ, "", 0)


def test_a_sitemap_may_not_lead_inside(source: Source, server: Server, visit: Visit) -> None:
    body = "<urlset>" + "".join(
        f"<url><loc>http://{host}/</loc></url>"
        for host in ("127.0.0.1", "10.0.0.1", "localhost", "[::1]", "169.254.169.254")
    )
    Source.objects.update(other_hosts=True)
    server.page("/sitemap.xml", body + "</urlset>", Content_Type=XML)
    visit()
    listed = WebPage.objects.exclude(url__startswith="http://127.0.0.1/")  # tests may ask this one
    assert all("Only public addresses" in page.error for page in listed)
    assert not Document.objects.exists()


def test_a_feed_brings_in_its_entries_and_keeps_old_ones(
    alice: User, collection: Collection, server: Server, visit: Visit, later: Callable[[], None]
) -> None:
    server.page("/feed.xml", rss(server, "/a", "/b"), Content_Type="application/rss+xml")
    for path in "abc":
        server.page(f"/{path}", f"<p>This is entry {path}.</p>")
    source = add_source(alice, collection, server.url("/feed.xml", "site.example"), kind="feed")
    assert source.other_hosts
    visit()
    assert paths(source) == ["/a", "/b"]
    server.page("/feed.xml", rss(server, "/b", "/c"), Content_Type="application/rss+xml")
    visit()
    assert paths(source) == ["/a", "/b", "/c"]
    visit()
    wait = {page.url[-2:]: page.next_at - timezone.now() for page in source.pages.all()}
    assert wait["/b"] < timedelta(days=2)
    assert wait["/a"] > timedelta(days=6), "what left the feed is looked at now and then"


def test_checking_now_looks_at_what_failed_as_well(
    alice: User, source: Source, server: Server, visit: Visit
) -> None:
    server.page("/b", "broken", status=500)
    visit()
    assert not sources.due_pages().exists()
    check_now(alice, source)
    assert [page.url for page in sources.due_pages()] == [server.url("/b", "site.example")]
    assert sources.listings_to_read(10) == [source.pk]


def test_robots_hold_for_sitemaps_too(source: Source, server: Server, visit: Visit) -> None:
    server.page("/robots.txt", "User-agent: Footnote\nDisallow: /", Content_Type="text/plain")
    visit()
    source.refresh_from_db()
    assert server.asked == ["/robots.txt"]
    assert "robots.txt" in source.error
