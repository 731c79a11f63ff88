"""Pages become documents, are looked at again, change, and vanish: against a real server and database."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone

from kb.core.models import AuditEntry, Collection, User
from kb.documents import sources
from kb.documents.actions import add_document, delete_document
from kb.documents.models import Document, DocumentStage, Source, WebHost, WebPage
from kb.documents.source_actions import add_source, check_now, pause_source
from kb.documents.web import pages, storing
from kb.documents.web.addresses import web_address
from kb.documents.web.fetching import Fetcher
from kb.documents.web.outcomes import Failed, Fetched
from kb.indexes.models import EmbeddingJob, Index
from tests.conftest import work_off
from tests.kb.documents.web.conftest import Server

pytestmark = pytest.mark.django_db

Visit = Callable[[], None]


def html(title: str, *paragraphs: str) -> str:
    body = "".join(f"<p>{text}</p>" for text in paragraphs)
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>"


ROSES = " ".join(f"Roses grow in bed number {n}, behind the greenhouse." for n in range(60))
TULIPS = " ".join(f"Tulips grow in row number {n}, before the gate." for n in range(60))


@pytest.fixture
def garden(alice: User, collection: Collection, server: Server, index: Index) -> WebPage:
    """A page that was added and not fetched yet."""
    server.page("/garden", html("Garden", ROSES), ETag='"1"')
    source = add_source(alice, collection, server.url("/garden", "site.example"), kind="page")
    return source.pages.get()


def again(garden: WebPage) -> WebPage:
    return WebPage.objects.select_related("document", "source").get(pk=garden.pk)


def vectors(index: Index) -> dict[int, str]:
    """The embedded chunks, and which row version holds each: a vector written anew has another one."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT chunk_id, ctid::text FROM {index.live_version.table}")
        return dict(cursor.fetchall())


def test_a_page_becomes_a_document(garden: WebPage, server: Server, visit: Visit, index: Index) -> None:
    visit()
    work_off()
    garden = again(garden)
    document = garden.document
    assert (document.state, document.title) == (Document.State.READY, "Garden")
    assert document.filename == "site.example-garden.html"
    assert document.upload == garden.source.upload
    assert document.created_by == garden.source.created_by
    assert (garden.final_url, garden.etag, garden.error) == (garden.url, '"1"', "")
    assert timedelta(hours=23) < garden.next_at - timezone.now() < timedelta(hours=25)
    assert server.asked == ["/robots.txt", "/garden"]
    fetched = document.stages.get(stage="fetch")
    assert (fetched.state, fetched.content_hash) == (DocumentStage.State.DONE, garden.sha256)
    assert fetched.done == fetched.total == document.current.size
    source = garden.source
    assert (source.state, source.error, source.next_at) == (Source.State.READ, "", garden.next_at)
    assert AuditEntry.objects.filter(verb="fetch", detail__url=garden.url).count() == 1


def test_an_unchanged_page_is_not_even_sent_and_embeds_nothing(
    garden: WebPage, server: Server, visit: Visit, index: Index
) -> None:
    visit()
    work_off()
    before = vectors(index)
    assert before
    visit()
    assert server.headers[-1]["If-None-Match"] == '"1"'
    assert not EmbeddingJob.objects.exists()
    document = again(garden).document
    assert (document.state, document.revisions.count()) == (Document.State.READY, 1)
    work_off()
    assert vectors(index) == before


def test_the_same_content_without_validators_is_recognised_by_its_hash(
    garden: WebPage, server: Server, visit: Visit, index: Index
) -> None:
    visit()
    work_off()
    before = vectors(index)
    server.page("/garden", html("Garden", ROSES), ETag='"2"')
    visit()
    work_off()
    garden = again(garden)
    assert (garden.document.revisions.count(), garden.etag) == (1, '"2"')
    assert garden.document.state == Document.State.READY
    assert vectors(index) == before


def test_last_modified_serves_as_well(garden: WebPage, server: Server, visit: Visit) -> None:
    server.page("/garden", html("Garden", ROSES), Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")
    visit()
    visit()
    assert server.headers[-1]["If-Modified-Since"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert again(garden).document.revisions.count() == 1


def test_a_changed_page_is_a_new_revision_that_embeds_what_is_new(
    garden: WebPage, server: Server, visit: Visit, index: Index
) -> None:
    visit()
    work_off()
    document, before = again(garden).document, vectors(index)
    server.page("/garden", html("Garden", ROSES, TULIPS), ETag='"2"')
    visit()
    document.refresh_from_db()
    assert document.state == Document.State.QUEUED
    assert document.current.number == 1, "the present revision serves on"
    work_off()
    document.refresh_from_db()
    assert (document.state, document.current.number) == (Document.State.READY, 2)
    after = vectors(index)
    kept = [chunk for chunk in before if after.get(chunk) == before[chunk]]
    assert len(kept) >= len(before) - 1, "what did not change keeps its vectors"
    assert len(after) > len(before)
    assert Document.objects.count() == 1


def test_fetching_twice_is_one_document_and_one_request(
    garden: WebPage, server: Server, fetcher: Fetcher, later: Callable[[], None]
) -> None:
    first = pages.fetch(garden.pk, fetcher)
    assert first is not None
    assert (first.collection, first.seconds) == (garden.source.collection_id, 1.0)
    assert pages.fetch(garden.pk, fetcher) is None
    assert server.asked == ["/robots.txt", "/garden"]
    assert Document.objects.count() == 1


def test_a_page_that_vanished_is_marked_and_its_document_kept(
    garden: WebPage, server: Server, visit: Visit, index: Index
) -> None:
    visit()
    work_off()
    del server.pages["/garden"]
    visit()
    visit()
    garden = again(garden)
    assert garden.vanished_at is not None
    assert "404" in garden.error
    assert garden.document.state == Document.State.READY
    assert garden.document.chunks.exists()
    server.page("/garden", html("Garden", ROSES))
    visit()
    garden = again(garden)
    assert (garden.vanished_at, garden.error) == (None, "")
    assert Document.objects.count() == 1


@pytest.mark.parametrize(("status", "visits"), [(404, 2), (410, 1)])
def test_a_page_that_vanished_takes_its_document_along_where_the_source_says_so(
    garden: WebPage, server: Server, visit: Visit, index: Index, status: int, visits: int
) -> None:
    Source.objects.update(when_vanished=Source.WhenVanished.DELETE)
    visit()
    work_off()
    server.page("/garden", "gone", status=status)
    for number in range(visits):
        assert Document.objects.count() == 1, f"still there before visit {number}"
        visit()
    assert not Document.objects.exists()
    assert vectors(index) == {}
    assert again(garden).vanished_at is not None
    assert AuditEntry.objects.filter(verb="delete", detail__vanished=garden.url).count() == 1
    server.page("/garden", html("Garden", ROSES))
    visit()
    assert again(garden).document is not None, "it may come back"


def test_a_document_that_a_person_deleted_stays_deleted(
    garden: WebPage, server: Server, visit: Visit, alice: User
) -> None:
    visit()
    delete_document(alice, again(garden).document)
    server.asked.clear()
    visit()
    garden = again(garden)
    assert (garden.document, garden.next_at, garden.error) == (None, None, storing.DELETED)
    assert server.asked == []
    check_now(alice, garden.source)
    visit()
    assert again(garden).document is not None, "until somebody asks for it"


def test_robots_are_obeyed(garden: WebPage, server: Server, visit: Visit) -> None:
    server.page("/robots.txt", "User-agent: *\nDisallow: /garden", Content_Type="text/plain")
    visit()
    garden = again(garden)
    assert server.asked == ["/robots.txt"]
    assert garden.document is None
    assert "robots.txt" in garden.error
    assert garden.source.state == Source.State.FAILED


def test_robots_are_read_once_a_day(garden: WebPage, server: Server, visit: Visit) -> None:
    for _ in range(3):
        visit()
    assert server.asked.count("/robots.txt") == 1
    WebHost.objects.update(robots_until=timezone.now())
    visit()
    assert server.asked.count("/robots.txt") == 2


def test_robots_in_trouble_mean_waiting(
    garden: WebPage, server: Server, fetcher: Fetcher, visit: Visit
) -> None:
    server.page("/robots.txt", "", status=503, Retry_After="1800")
    assert pages.fetch(garden.pk, fetcher) is None
    garden = again(garden)
    assert server.asked == ["/robots.txt"]
    assert "robots.txt" in garden.error
    assert garden.attempts == 0, "nobody was asked for the page"
    for moment in (garden.next_at, WebHost.objects.get().not_before):
        assert timedelta(minutes=29) < moment - timezone.now() < timedelta(minutes=31)
    del server.pages["/robots.txt"]
    visit()
    assert again(garden).document is not None


def test_a_crawl_delay_is_kept(garden: WebPage, server: Server, fetcher: Fetcher) -> None:
    server.page("/robots.txt", "User-agent: *\nCrawl-delay: 20", Content_Type="text/plain")
    visited = pages.fetch(garden.pk, fetcher)
    assert visited is not None
    assert visited.seconds == 20
    wait = WebHost.objects.get().not_before - timezone.now()
    assert timedelta(seconds=15) < wait <= timedelta(seconds=20)


def test_a_host_is_asked_by_one_at_a_time(garden: WebPage, server: Server, fetcher: Fetcher) -> None:
    busy_until = timezone.now() + timedelta(seconds=200)
    WebHost.objects.create(origin=garden.origin, not_before=busy_until)
    assert sources.pages_to_fetch(10) == []
    assert pages.fetch(garden.pk, fetcher) is None
    garden = again(garden)
    assert server.asked == []
    assert (garden.attempts, garden.error) == (0, "")
    assert garden.next_at - timezone.now() < timedelta(seconds=15), "a turn ends sooner than it might"
    assert WebHost.objects.get().not_before == busy_until


def test_too_many_requests_quieten_the_whole_host(garden: WebPage, server: Server, fetcher: Fetcher) -> None:
    server.page("/garden", "slow down", status=429, Retry_After="600")
    visited = pages.fetch(garden.pk, fetcher)
    assert visited is not None
    assert visited.seconds == 600
    garden = again(garden)
    assert "429" in garden.error
    for moment in (garden.next_at, WebHost.objects.get().not_before):
        assert timedelta(seconds=580) < moment - timezone.now() <= timedelta(seconds=601)


def test_failures_wait_longer_each_time_and_never_block(
    garden: WebPage, server: Server, visit: Visit
) -> None:
    server.page("/garden", "broken", status=500)
    waits = []
    for _ in range(4):
        visit()
        waits.append(again(garden).next_at - timezone.now())
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]
    assert again(garden).attempts == 4
    server.page("/garden", html("Garden", ROSES))
    visit()
    assert (again(garden).attempts, again(garden).error) == (0, "")


def test_a_failure_leaves_the_document_and_shows_in_its_stage(
    garden: WebPage, server: Server, visit: Visit, index: Index
) -> None:
    visit()
    work_off()
    server.page("/garden", "broken", status=500)
    visit()
    document = again(garden).document
    assert document.state == Document.State.READY
    stage = document.stages.get(stage="fetch")
    assert stage.state == DocumentStage.State.FAILED
    assert "500" in stage.error


def test_what_is_no_page_says_so(garden: WebPage, server: Server, visit: Visit) -> None:
    server.page("/garden", b"\x89PNG", Content_Type="image/png")
    visit()
    assert again(garden).error == "Pages of the type image/png cannot be read."
    server.page("/garden", "")
    visit()
    assert "is empty" in again(garden).error


def test_a_killed_workers_claim_ends(garden: WebPage, fetcher: Fetcher, visit: Visit) -> None:
    assert sources.claimed(sources.due_pages().filter(pk=garden.pk))
    assert pages.fetch(garden.pk, fetcher) is None
    visit()
    assert again(garden).document is not None


def test_what_kills_workers_is_tried_ever_more_rarely(garden: WebPage, later: Callable[[], None]) -> None:
    class Deadly(Fetcher):
        def fetch(self, url: str, **_: object) -> None:  # type: ignore[override]
            raise MemoryError

    for _ in range(8):
        later()
        with pytest.raises(MemoryError):
            pages.fetch(garden.pk, Deadly())
    garden = again(garden)
    assert garden.error == sources.CRASHED
    assert garden.next_at - timezone.now() > timedelta(hours=5)


def test_a_result_that_comes_too_late_is_dropped(garden: WebPage, fetcher: Fetcher) -> None:
    assert sources.claimed(sources.due_pages().filter(pk=garden.pk))
    stale = again(garden)
    WebPage.objects.update(next_at=timezone.now())  # somebody else's turn meanwhile
    found = Fetched(web_address(garden.url), b"<p>old</p>", "text/html")
    assert not pages.settle(stale, found)
    assert not pages.settle(stale, Failed("no"))
    assert not Document.objects.exists()
    assert again(garden).error == ""


def test_a_removed_source_takes_no_result(garden: WebPage) -> None:
    assert sources.claimed(sources.due_pages().filter(pk=garden.pk))
    stale = again(garden)
    Source.objects.all().delete()
    assert not pages.settle(stale, Fetched(web_address(garden.url), b"<p>old</p>", "text/html"))
    assert not Document.objects.exists()


@pytest.mark.parametrize("which", ["source", "collection"])
def test_what_is_paused_is_not_fetched(
    garden: WebPage, server: Server, fetcher: Fetcher, alice: User, which: str
) -> None:
    if which == "source":
        pause_source(alice, garden.source)
    else:
        Collection.objects.update(paused=True)
    assert sources.pages_to_fetch(10) == []
    assert pages.fetch(garden.pk, fetcher) is None
    assert server.asked == []


def test_one_page_under_two_addresses_is_one_document(
    alice: User, collection: Collection, server: Server, visit: Visit, index: Index
) -> None:
    for path in ("/", "/index.html"):
        server.page(path, html("Garden", ROSES))
    source = add_source(alice, collection, server.url("/", "site.example"), kind="page")
    alias = WebPage.objects.create(
        source=source, url=server.url("/index.html", "site.example"), origin=source.pages.get().origin
    )
    visit()
    alias = again(alias)
    assert Document.objects.count() == 1
    assert alias.same_as.document is not None
    server.page("/index.html", html("Index", TULIPS))
    visit()
    assert (again(alias).same_as, Document.objects.count()) == (None, 2)


def test_a_page_that_the_collection_holds_as_a_file_is_linked_to_it(
    garden: WebPage, visit: Visit, alice: User, collection: Collection, index: Index
) -> None:
    held = add_document(alice, collection, ContentFile(html("Garden", ROSES).encode(), "mine.html")).document
    visit()
    document = again(garden).document
    assert document != held, "the page may change; the file of a person may not change with it"
    assert document.same_as == held


def test_latin_1_in_the_header_alone_is_read_right(
    garden: WebPage, server: Server, visit: Visit, index: Index
) -> None:
    body = html("Gärten", "Größere Sträucher wachsen dort. " * 20).encode("latin-1")
    server.page("/garden", body, Content_Type="text/html; charset=iso-8859-1")
    visit()
    work_off()
    document = again(garden).document
    assert document.title == "Gärten"
    assert "Größere Sträucher" in document.current.text


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/", "example.org.html"),
        ("https://example.org/a/b.html", "example.org-a-b.html"),
        ("https://example.org/a/?q=1&r=2", "example.org-a-q-1-r-2.html"),
        ("https://example.org/%2e%2e/%2Fetc", "example.org-2e-2e-2Fetc.html"),
    ],
)
def test_files_are_named_after_their_address(url: str, name: str) -> None:
    assert storing.filename(web_address(url), ".html") == name


def test_long_names_stay_apart() -> None:
    names = {storing.filename(web_address(f"https://example.org/{'a' * 300}{n}"), ".html") for n in range(3)}
    assert len(names) == 3
    assert all(len(name) < 140 for name in names)
