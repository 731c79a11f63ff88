"""Celery's side: ids in, successors out, lost messages found; nothing waits inside a worker."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from kb.core import beating
from kb.core.models import Heartbeat
from kb.core.supervising import SILENT_SECONDS
from kb.documents import sources, tasks
from kb.documents.models import Document, Source, WebHost, WebPage
from kb.documents.source_actions import add_source
from kb.documents.web import hosts, pages
from kb.documents.web.fetching import Fetcher

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """What is sent to the broker: (task, arguments, countdown)."""
    found = []

    def apply_async(task):
        return lambda args, expires=None, countdown=None: found.append((task, *args, countdown))

    for task in (tasks.fetch_page_task, tasks.fetch_source_task, tasks.parse_documents_task):
        monkeypatch.setattr(task, "apply_async", apply_async(task.name.rpartition(".")[2]))
    return found


@pytest.fixture
def reachable(monkeypatch, fetcher):
    """Tasks use the fetcher of tests."""
    monkeypatch.setattr(tasks, "Fetcher", lambda: fetcher)


@pytest.fixture
def source(alice, collection, server, index):
    server.page(
        "/sitemap.xml",
        "<urlset>"
        + "".join(f"<url><loc>{server.url(f'/{n}', 'site.example')}</loc></url>" for n in range(3))
        + "</urlset>",
        Content_Type="application/xml",
    )
    for n in range(3):
        server.page(f"/{n}", f"<p>This is page {n}.</p>")
    return add_source(alice, collection, server.url("/sitemap.xml", "site.example"))


def test_adding_wakes_a_worker_after_the_commit(alice, collection, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        page = add_source(alice, collection, "https://example.org/a").pages.get()
        feed = add_source(alice, collection, "https://example.org/feed.xml")
    assert sent == [("fetch_page_task", page.pk, None), ("fetch_source_task", str(feed.pk), None)]


def test_a_page_sends_the_next_one_of_its_host_and_what_is_to_be_parsed(
    source, server, sent, reachable, collection
):
    tasks.fetch_source_task(str(source.pk))
    WebHost.objects.update(not_before=timezone.now())
    first, second, _ = WebPage.objects.order_by("next_at", "pk")
    tasks.fetch_page_task(first.pk)
    assert sent == [("parse_documents_task", None), ("fetch_page_task", second.pk, 1.0)]
    assert Document.objects.get().state == Document.State.QUEUED


def test_what_a_killed_worker_had_is_asked_for_again_soon(source, alice, collection, server, sent, reachable):
    """Not after the minutes that a claim and a host's turn last."""
    tasks.fetch_source_task(str(source.pk))
    feed = add_source(alice, collection, server.url("/feed.xml", "site.example"))
    WebHost.objects.update(not_before=timezone.now())
    page = WebPage.objects.order_by("next_at", "pk").first()

    assert sources.claimed(sources.due_pages().filter(pk=page.pk))
    assert isinstance(hosts.take_turn(page.origin), WebHost)
    assert sources.claimed(sources.due_listings().filter(pk=feed.pk))
    beating.fall_silent()
    beating.beat("fetch")
    assert sources.end_claims_of_the_dead() == 0, "it may be at it"
    Heartbeat.objects.update(at=timezone.now() - sources.SILENT)
    tasks.sweep_sources_task()
    assert {"fetch_page_task", "fetch_source_task"} <= {task for task, *_ in sent}
    for row in (WebPage.objects.get(pk=page.pk), Source.objects.get(pk=feed.pk)):
        assert (row.claimed_by, row.attempts) == ("", 1)
        assert row.next_at <= timezone.now()
    assert WebHost.objects.get().not_before <= timezone.now()
    assert sources.end_claims_of_the_dead() == 0


def test_what_is_done_is_nobodys(source, server, sent, reachable):
    tasks.fetch_source_task(str(source.pk))
    WebHost.objects.update(not_before=timezone.now())
    tasks.fetch_page_task(WebPage.objects.order_by("next_at", "pk").first().pk)
    for rows in (Source, WebPage, WebHost):
        assert set(rows.objects.values_list("claimed_by", flat=True)) == {""}
    before = list(WebPage.objects.order_by("pk").values("next_at"))
    assert sources.end_claims_of_the_dead() == 0
    assert list(WebPage.objects.order_by("pk").values("next_at")) == before


def test_what_ends_workers_again_and_again_keeps_its_pause(source, sent):
    """It is no longer the worker's, so that no sweep makes it due when that one ends, too."""
    page = WebPage.objects.create(source=source, url="http://site.example/x", origin="http://site.example")
    WebPage.objects.update(attempts=sources.MOST_ATTEMPTS)
    assert sources.claimed(sources.due_pages().filter(pk=page.pk))
    page = WebPage.objects.get(pk=page.pk)
    pages.outlast_crashes(page)
    assert sources.end_claims_of_the_dead() == 0
    page.refresh_from_db()
    assert page.next_at > timezone.now()


def test_a_task_twice_does_it_once(source, server, sent, reachable):
    for _ in range(2):
        tasks.fetch_source_task(str(source.pk))
    WebHost.objects.update(not_before=timezone.now())
    page = WebPage.objects.first()
    for _ in range(2):
        tasks.fetch_page_task(page.pk)
    assert server.asked == ["/robots.txt", "/sitemap.xml", page.url[page.url.rindex("/") :]]
    assert Document.objects.count() == 1


def test_rows_that_are_gone_are_no_errors(sent, reachable):
    tasks.fetch_page_task(123456)
    tasks.fetch_source_task("00000000-0000-0000-0000-000000000000")
    assert sent == []


def test_an_index_sends_itself_for_its_next_file(source, server, sent, reachable):
    server.page(
        "/sitemap.xml",
        "<sitemapindex><sitemap><loc>/a.xml</loc></sitemap></sitemapindex>",
        Content_Type="application/xml",
    )
    tasks.fetch_source_task(str(source.pk))
    assert sent == [("fetch_source_task", str(source.pk), 1.0)]


def test_the_sweep_finds_what_is_due_and_one_page_a_host(source, sent):
    for host in ("a", "b"):
        for n in range(3):
            WebPage.objects.create(
                source=source, url=f"https://{host}.example/{n}", origin=f"https://{host}.example"
            )
    WebHost.objects.create(origin="https://b.example", not_before=timezone.now() + timedelta(seconds=9))
    tasks.sweep_sources_task()
    first = WebPage.objects.get(url="https://a.example/0")
    assert sent == [("fetch_source_task", str(source.pk), None), ("fetch_page_task", first.pk, None)]
    sent.clear()
    Source.objects.update(paused=True)
    tasks.sweep_sources_task()
    assert sent == []


def test_the_sweep_is_scheduled_and_fetches_go_where_workers_listen():
    assert settings.CELERY_BEAT_SCHEDULE["sweep-sources"]["task"] == tasks.sweep_sources_task.name
    assert settings.CELERY_TASK_ROUTES["kb.documents.tasks.fetch_*"] == {"queue": "fetch"}
    assert tasks.fetch_page_task.name.startswith("kb.documents.tasks.fetch_")


def test_a_fetch_ends_before_its_claim_and_its_turn():
    """The clocks of a page and of the robots.txt that one of its redirects needs: nothing else ends a thread."""
    assert 2 * Fetcher().seconds < hosts.TURN_SECONDS < sources.CLAIM.total_seconds()


def test_threads_that_all_wait_are_not_taken_for_dead():
    """A sign comes before each request and after the last, so two are never further apart than a fetch takes."""
    assert 2 * Fetcher().seconds < min(SILENT_SECONDS, Heartbeat.objects.all().FRESH.total_seconds())
