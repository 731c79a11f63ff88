"""Fetching in the threads of a real worker: they wait side by side, and leave no connection behind."""

import threading
from collections.abc import Iterator

import pytest
from celery.contrib.testing.worker import start_worker
from django.db import connection

from kb.celery import app
from kb.core.beating import fall_silent
from kb.core.models import Collection, Heartbeat, User
from kb.documents import tasks
from kb.documents.models import Document, WebPage
from kb.documents.source_actions import add_source
from kb.documents.web.fetching import Fetcher
from tests.kb.documents.web.conftest import Server
from tests.live import until

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 3


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, fetcher: Fetcher) -> Iterator[None]:
    """Takes from the queue `fetch` with a pool of the kind that the site has; the broker is memory."""
    monkeypatch.setattr(tasks, "Fetcher", lambda: fetcher)
    monkeypatch.setattr(tasks, "wake_parsing", lambda: None)
    fall_silent()  # of what other tests left
    with start_worker(app, pool="threads", concurrency=THREADS, perform_ping_check=False, queues=["fetch"]):
        yield


@pytest.fixture
def answered() -> Iterator[threading.Event]:
    """The servers that say nothing do so until this is set."""
    event = threading.Event()
    yield event
    event.set()


def page(actor: User, collection: Collection, server: Server, host: str, path: str) -> WebPage:
    return add_source(actor, collection, server.url(path, host), kind="page").pages.get()


def connections() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        )
        return {pid for (pid,) in cursor.fetchall()}


@pytest.mark.slow
def test_slow_servers_leave_a_thread_for_the_others_and_no_connection_behind(
    alice: User, collection: Collection, server: Server, answered: threading.Event, worker: None
) -> None:
    server.pages["/slow"] = lambda _request: answered.wait(20)
    server.page("/quick", "<p>This page is quick.</p>")
    before = connections()
    for number in range(THREADS - 1):
        page(alice, collection, server, f"slow{number}.example", "/slow")
    until(lambda: server.asked.count("/slow") == THREADS - 1, "the slow servers to be asked", 10)
    quick = page(alice, collection, server, "quick.example", "/quick")
    until(lambda: Document.objects.filter(web_page=quick).exists(), "the quick page", 3)
    assert not WebPage.objects.exclude(pk=quick.pk).exclude(checked_at=None).exists(), "the slow ones wait"
    assert Heartbeat.objects.get().queue == "fetch"
    answered.set()
    until(lambda: not WebPage.objects.filter(checked_at=None).exists(), "the slow pages", 10)
    until(lambda: connections() <= before, "the threads' connections to be closed", 5)
