"""Two at once: what one of them deletes while the other writes leaves neither an error nor a remnant."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psycopg
import pytest
from django.core.files.base import ContentFile
from django.db import connection, connections

from kb.core import pools
from kb.core.actions import delete_collection
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents import parsing
from kb.documents.actions import add_document, replace_document
from kb.documents.models import Chunk, Document
from kb.documents.signals import chunks_changed
from kb.indexes import embedding_table
from kb.indexes.models import EmbeddingJob, Index
from tests.conftest import ingest, load_here

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "Medlars are eaten when they are soft."


def in_thread(threads: ThreadPoolExecutor, work: Callable[[], object]) -> "Future[None]":
    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    return threads.submit(run)


def until_waiting(work: "Future[None]") -> None:
    """Returns once the work waits for a lock of somebody else, or has ended."""
    again = Event()
    with connection.cursor() as cursor:
        while not work.done():
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            again.wait(0.01)


@contextmanager
def paused_before_the_commit() -> Iterator[tuple[Event, Event]]:
    """Parsing stops where its chunks are written: the first event tells, the second lets it go on."""
    written, released = Event(), Event()

    def pause(sender: object, **_: object) -> None:
        written.set()
        assert released.wait(30)

    chunks_changed.connect(pause)
    try:
        yield written, released
    finally:
        released.set()
        chunks_changed.disconnect(pause)


def test_a_collection_is_deleted_while_its_document_is_written(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add_document(alice, collection, ContentFile(TEXT.encode(), "medlars.txt")).document
    with ThreadPoolExecutor(2) as threads, paused_before_the_commit() as (written, released):
        parsed = in_thread(threads, lambda: parsing.parse(document.pk, load_here))
        assert written.wait(30)
        deleted = in_thread(threads, lambda: delete_collection(alice, collection))
        until_waiting(deleted)
        released.set()
        parsed.result(30)
        deleted.result(30)
    assert not Document.objects.exists()
    assert not Chunk.objects.exists()
    assert not EmbeddingJob.objects.exists()
    assert embedding_table.count(index.live_version) == 0


@pytest.mark.parametrize("change", ["add", "replace"])
def test_what_comes_for_a_collection_that_is_being_deleted_is_told(
    alice: User, collection: Collection, index: Index, change: str
) -> None:
    document = ingest(alice, collection, "medlars.txt", TEXT)
    new = ContentFile(b"Quinces are boiled.", "quinces.txt")
    with ThreadPoolExecutor(1) as threads, psycopg.connect(**pools.parameters()) as other:
        other.execute("SELECT FROM core_collection WHERE id = %s FOR UPDATE", [collection.pk])
        put = in_thread(
            threads,
            lambda: (
                add_document(alice, collection, new)
                if change == "add"
                else replace_document(alice, document, new)
            ),
        )
        until_waiting(put)
        assert not put.done()
        for table, column in (
            ("documents_chunk", "collection_id"),
            ("indexes_segment", "collection_id"),
            ("documents_collectionlanguage", "collection_id"),
        ):
            other.execute(f"DELETE FROM {table} WHERE {column} = %s", [collection.pk])
        other.execute("UPDATE documents_document SET current_id = NULL, incoming_id = NULL")
        other.execute("DELETE FROM documents_documentstage")
        other.execute("DELETE FROM documents_documentrevision")
        other.execute("DELETE FROM documents_document WHERE collection_id = %s", [collection.pk])
        other.execute("DELETE FROM core_membership WHERE collection_id = %s", [collection.pk])
        other.execute("DELETE FROM core_collection WHERE id = %s", [collection.pk])
        other.commit()
        with pytest.raises(Problem) as refused:
            put.result(30)
    assert refused.value.code == "not_found"


def test_invariant_5_citing_does_not_wait_for_writing(
    alice: User, collection: Collection, index: Index
) -> None:
    """While a replacement's chunks are written, an answer that cites the document can be stored."""
    document = ingest(alice, collection, "medlars.txt", TEXT)
    replace_document(alice, document, ContentFile(b"Quinces are boiled.", "medlars.txt"))
    with ThreadPoolExecutor(1) as threads, paused_before_the_commit() as (written, released):
        parsed = in_thread(threads, lambda: parsing.parse(document.pk, load_here))
        assert written.wait(30)
        with psycopg.connect(**pools.parameters()) as other:
            # The lock that a footnote's foreign key takes.
            other.execute("SET lock_timeout = '2s'")
            other.execute("SELECT FROM documents_document WHERE id = %s FOR KEY SHARE", [document.pk])
        released.set()
        parsed.result(30)
