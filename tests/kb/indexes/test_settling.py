"""When documents are ready or have failed, and that neither costs by what else there is."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone
from psycopg import sql
from pytest_django import DjangoCaptureOnCommitCallbacks

from kb.core.models import Collection, User
from kb.documents import parsing
from kb.documents.actions import add_document, cancel, replace_document, retry_document
from kb.documents.models import Document, DocumentStage
from kb.indexes import embedding, embedding_queue, embedding_table, settling
from kb.indexes.embedding_queue import lease
from kb.indexes.models import EmbeddingJob, Index, IndexedCollection, IndexVersion
from tests.conftest import load_here
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked, crowd

pytestmark = pytest.mark.django_db


def state(document: Document) -> str:
    return Document.objects.get(pk=document.pk).state


def stage(document: Document) -> DocumentStage:
    return DocumentStage.objects.get(document=document, stage="embed")


def test_a_stage_goes_on_with_each_batch_and_ends_with_the_last(
    collection: Collection, version: IndexVersion
) -> None:
    one, two = (chunked(version, collection, [f"{name} {n}" for n in range(50)]) for name in ("one", "two"))
    assert [(stage(d).state, stage(d).done, stage(d).total) for d in (one, two)] == [("running", 0, 50)] * 2
    asked = iter([False, True])
    embedding.embed_batch(version, lease(version), Counting(version), lambda: next(asked))
    assert stage(one).done + stage(two).done == embedding.BATCH
    embed_all(version, Counting(version))
    assert [(stage(d).state, stage(d).done, state(d)) for d in (one, two)] == [("done", 50, "ready")] * 2
    assert stage(one).finished_at >= stage(one).started_at
    assert stage(one).worker


def test_a_document_is_not_ready_before_its_last_vector(
    collection: Collection, version: IndexVersion
) -> None:
    document = chunked(version, collection, ["one", "two"])
    EmbeddingJob.objects.filter(pk=EmbeddingJob.objects.earliest("pk").pk).delete()
    assert settling.settle([document.pk]) == 0
    EmbeddingJob.objects.all().delete()
    assert settling.settle([document.pk]) == 1
    assert settling.settle([document.pk]) == 0, "twice is once"
    assert state(document) == "ready"


def test_only_those_that_are_named_or_else_all_are_settled(
    collection: Collection, version: IndexVersion
) -> None:
    one, two, three = (chunked(version, collection, ["one"]) for _ in range(3))
    EmbeddingJob.objects.exclude(chunk__document=three).delete()
    assert settling.settle([]) == 0
    assert settling.settle([one.pk]) == 1
    assert settling.settle() == 1
    assert [state(document) for document in (one, two, three)] == ["ready", "ready", "embedding"]


def test_the_live_version_of_a_documents_own_index_counts(
    alice: User, collection: Collection, other: Collection, version: IndexVersion
) -> None:
    index = Index.objects.create(name="Second", slug="second")
    second = IndexVersion.objects.create(
        index=index, number=1, model=version.model, chunking=version.chunking,
        dimensions=version.dimensions, state=IndexVersion.State.LIVE,
    )  # fmt: skip
    Index.objects.filter(pk=index.pk).update(live_version=second)
    embedding_table.create(second)
    IndexedCollection.objects.create(collection=other, index=index)
    here, there = chunked(version, collection, ["one"]), chunked(second, other, ["one"])
    assert settling.settle() == 0
    EmbeddingJob.objects.filter(version=second).delete()
    settling.settle()
    assert (state(here), state(there)) == ("embedding", "ready")


def test_a_document_without_words_is_ready_at_once(
    alice: User,
    collection: Collection,
    index: Index,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    parsing.parse(document.pk, load_here)
    embed_all(IndexVersion.objects.select_related("model").get(), Counting(IndexVersion.objects.get()))
    again = ContentFile(b"words\n", "a.txt")
    replace_document(alice, document, again)
    with django_capture_on_commit_callbacks(execute=True):
        parsing.parse(document.pk, load_here)
    assert state(document) == "ready", "all its chunks stayed, with their vectors"
    assert (stage(document).state, stage(document).reused) == ("done", 1)


def test_a_retried_document_begins_its_stage_anew(
    alice: User, collection: Collection, version: IndexVersion
) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    parsing.parse(document.pk, load_here)
    EmbeddingJob.objects.update(
        attempts=EmbeddingJob.MOST_ATTEMPTS, lease_until=timezone.now() - timedelta(1)
    )
    assert settling.give_up_abandoned() == 1
    assert settling.give_up_abandoned() == 0
    assert (state(document), stage(document).state) == ("failed", "failed")
    retry_document(alice, document)
    parsing.parse(document.pk, load_here)
    assert (stage(document).state, stage(document).error, stage(document).done) == ("running", "", 0)
    embed_all(version, Counting(version))
    assert (state(document), stage(document).state) == ("ready", "done")


def test_a_cancelled_and_retried_document_gets_its_vectors(
    alice: User, collection: Collection, version: IndexVersion
) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    parsing.parse(document.pk, load_here)
    cancel(alice, document)
    assert lease(version) == []
    retry_document(alice, document)
    parsing.parse(document.pk, load_here)
    embed_all(version, Counting(version))
    assert state(document) == "ready"
    assert embedding_table.count(version) == document.chunks.count() == 1


class Explained:
    """What Postgres touches for a statement: 8 kB pages, and rows read on the way."""

    def __init__(self, statement: str | sql.Composed, given: Mapping[str, object]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ")
                + (sql.SQL(statement) if isinstance(statement, str) else statement),  # type: ignore[arg-type]
                given,
            )
            (found,) = cursor.fetchone()
        plan = json.loads(found) if isinstance(found, str) else found
        root = plan[0]["Plan"]
        self.buffers = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
        self.rows = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes(root))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from nodes(inner)


def measured(version: IndexVersion, document: Document) -> dict[str, Explained]:
    """The statements of one lease, its reuse, its progress and its settling, for one document."""
    served = {"version": version.pk, "most": 64}
    rows = embedding.rows_of(
        embedding_queue.Input(0, chunk.pk, chunk.collection_id, document.pk, "", b"%032d" % chunk.pk, 0)
        for chunk in document.chunks.all()
    )
    reuse = sql.SQL("SELECT given.chunk FROM {}").format(embedding_table.matched([version]))
    take = {
        "version": version.pk, "quota": 20, "until": timezone.now(), "collections": [document.collection_id],
        "first": True,
    }  # fmt: skip
    jobs = list(EmbeddingJob.objects.filter(chunk__in=[row[0] for row in rows]).values_list("pk", flat=True))
    now = {"now": timezone.now(), "documents": [document.pk]}
    found = {
        "enqueue": Explained(
            sql.SQL(embedding_queue.ENQUEUE_DOCUMENT).format(table=sql.Identifier(version.table)),
            {
                "version": version.pk,
                "documents": [document.pk],
                "chunking": version.chunking_id,
                "prompt": b"",
                "most_attempts": 5,
            },
        ),
        "turns": Explained(embedding_queue.COLLECTIONS, served | {"after": 0}),
        "take": Explained(embedding_queue.TAKE, take),
        "settle early": Explained(settling.SETTLE_THESE, now),
        "advance": Explained(
            settling.ADVANCE, now | {"done": [1], "reused": [0], "worker": "w", "version": version.pk}
        ),
        "remove": Explained(embedding_queue.REMOVE, {"jobs": jobs}),
        "settle": Explained(settling.SETTLE_THESE, now),
    }
    with connection.cursor() as cursor:
        embedding_table.by_index_only(cursor)
        found["reuse"] = Explained(reuse, embedding_table.given(rows, "float32"))
        cursor.execute("SET LOCAL enable_seqscan = on")
    return found


def analyse(table: str = "") -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {table}")


@pytest.mark.parametrize(
    "statistics",
    [
        "of an empty site",
        pytest.param("of an empty queue", marks=pytest.mark.slow),
        pytest.param("old", marks=pytest.mark.slow),
        pytest.param("new", marks=pytest.mark.slow),
    ],
)
def test_cost_per_document_is_flat(
    statistics: str, alice: User, other: Collection, version: IndexVersion
) -> None:
    if statistics == "of an empty site":
        analyse()
    if statistics == "of an empty queue":
        crowd(version, other, documents=10, chunks=10)
        EmbeddingJob.objects.all().delete()
        analyse("indexes_embeddingjob")
    cost: dict[int, dict[str, Explained]] = {}
    stored = 0
    for size in (1_000, 20_000):
        crowd(version, other, documents=(size - stored) // 10, chunks=10)
        stored = size
        own = Collection.objects.create(name=str(size), slug=f"own{size}", owner=alice)
        document = chunked(version, own, [f"mine {n}" for n in range(20)])
        if statistics == "new" or (statistics == "old" and size == 1_000):
            analyse()
        cost[size] = measured(version, document)
        assert state(document) == "ready"
    for name, small in cost[1_000].items():
        large = cost[20_000][name]
        # A tree may have grown by a level; nothing may grow with the corpus.
        assert large.buffers <= 1.6 * small.buffers + 60, name
        assert large.rows <= 1.2 * small.rows + 20, name


ROWS_READ = """
SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid))
FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace
"""


def rows_read() -> int:
    """Rows and index entries that this transaction has read so far, in whatever statement."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS_READ)
        (count,) = cursor.fetchone()
    return int(count)


def whole_way(alice: User, collection: Collection, version: IndexVersion, name: str) -> dict[str, int]:
    """Rows read while a file is taken in; claimed, looked up, cut, posted; embedded and called ready."""
    counts = [rows_read()]
    document = add_document(alice, collection, ContentFile(f"Words of {name}.".encode(), name)).document
    counts.append(rows_read())
    while parsing.parse_for(collection.pk, 10, load_here):
        pass
    counts.append(rows_read())
    embed_all(version, Counting(version))
    counts.append(rows_read())
    assert state(document) == "ready"
    return dict(zip(("add", "parse", "embed"), (b - a for a, b in pairwise(counts)), strict=True))


@pytest.mark.parametrize("most", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_documents_whole_way_reads_no_more_rows_when_much_is_stored(
    alice: User, collection: Collection, other: Collection, version: IndexVersion, most: int
) -> None:
    read: dict[int, dict[str, int]] = {}
    stored = 0
    for size in (1_000, most):
        for place in (collection, other):
            crowd(version, place, documents=(size - stored) // 20, chunks=10)
        stored = size
        # Nothing else waits; and not by DELETE, whose dead rows would stay to the end of this transaction.
        with connection.cursor() as cursor:
            cursor.execute(
                "SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE indexes_embeddingjob; SET CONSTRAINTS ALL DEFERRED"
            )
        settling.settle()
        analyse()
        whole_way(alice, collection, version, f"warm{size}.txt")
        read[size] = whole_way(alice, collection, version, f"{size}.txt")
    for part, few in read[1_000].items():
        assert read[most][part] <= 1.2 * few + 60, (part, read)
