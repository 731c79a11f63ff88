"""Several workers at once, on real connections: one asks, one stores, and nobody waits in a circle."""

import threading
from collections.abc import Callable

import pytest
from django.db import close_old_connections, connection
from django.utils import timezone

from kb.core.actions import delete_collection
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents import sources
from kb.documents.actions import delete_document
from kb.documents.models import Document, Source, WebHost, WebPage
from kb.documents.source_actions import add_source, remove_source
from kb.documents.web import hosts, pages
from kb.documents.web.fetching import Fetcher
from kb.documents.web.outcomes import Later
from tests.kb.documents.web.conftest import Server

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*jobs: Callable[[], object]) -> list[object]:
    """Runs all at the same moment, each with a connection of its own; returns their results or errors."""
    results: list[object] = [None] * len(jobs)
    together = threading.Barrier(len(jobs))

    def run(number: int, job: Callable[[], object]) -> None:
        together.wait()
        try:
            results[number] = job()
        except Exception as error:  # noqa: BLE001 (a test says which are right)
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    close_old_connections()
    return results


@pytest.fixture
def leaf(alice: User, collection: Collection, server: Server) -> WebPage:
    server.page("/a", "<p>This is page a.</p>")
    return add_source(alice, collection, server.url("/a", "site.example"), kind="page").pages.get()


def test_the_same_task_delivered_to_many_at_once_asks_once(
    leaf: WebPage, server: Server, fetcher: Fetcher
) -> None:
    results = at_once(*[lambda: pages.fetch(leaf.pk, fetcher)] * 6)
    assert sum(isinstance(result, pages.Visited) for result in results) == 1
    assert results.count(None) == 5
    assert server.asked == ["/robots.txt", "/a"]
    assert Document.objects.count() == 1


def test_a_hosts_turn_is_one_workers(db: None) -> None:
    results = at_once(*[lambda: hosts.take_turn("https://example.org")] * 6)
    assert sum(isinstance(result, WebHost) for result in results) == 1
    assert sum(isinstance(result, Later) for result in results) == 5


def test_pages_of_one_host_never_overlap(
    alice: User, collection: Collection, server: Server, fetcher: Fetcher
) -> None:
    for n in range(4):
        server.page(f"/{n}", f"<p>This is page {n}.</p>")
        add_source(alice, collection, server.url(f"/{n}", "site.example"), kind="page")
    keys = list(WebPage.objects.values_list("pk", flat=True))
    results = at_once(*[lambda key=key: pages.fetch(key, fetcher) for key in keys])
    assert sum(isinstance(result, pages.Visited) for result in results) == 1
    assert len(server.asked) == 2, "robots.txt and one page; the others come when it is their turn"


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("vanished", [False, True])
@pytest.mark.parametrize("what", ["document", "source", "collection"])
def test_deleting_while_a_page_changes_or_vanishes_ends_well(
    leaf: WebPage, server: Server, fetcher: Fetcher, alice: User, what: str, vanished: bool, turn: int
) -> None:
    pages.fetch(leaf.pk, fetcher)
    server.page("/a", "<p>This page is another one now.</p>", status=410 if vanished else 200)
    Source.objects.update(when_vanished=Source.WhenVanished.DELETE)
    WebPage.objects.update(next_at=timezone.now())
    WebHost.objects.update(not_before=timezone.now())
    found = WebPage.objects.select_related("document__collection", "source__collection").get()
    delete = {
        "document": lambda: delete_document(alice, found.document),
        "source": lambda: remove_source(alice, found.source),
        "collection": lambda: delete_collection(alice, found.source.collection),
    }[what]
    results = at_once(lambda: pages.fetch(leaf.pk, fetcher), delete)
    errors = [result for result in results if isinstance(result, Exception)]
    # Who comes second may find that the first was faster, as a sentence.
    assert all(isinstance(error, Problem) and error.code == "not_found" for error in errors), results
    assert vanished or not errors
    assert Document.objects.count() <= (what == "source")
    assert not sources.due_pages().filter(document__isnull=False).exists()
