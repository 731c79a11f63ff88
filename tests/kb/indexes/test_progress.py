"""How far documents are together is arithmetic; what comes first is told as a number only."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from kb.core.models import Collection, Heartbeat, User
from kb.documents.models import Document, DocumentStage
from kb.indexes import embedding_queue, progress
from kb.indexes.models import IndexVersion
from kb.indexes.progress import Ahead, Group, Overall, Rates, figures, overall, turns_before, work_of
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked

FAST = Rates(chunks=10.0, documents=5.0)
NOTHING = Ahead()


def of(groups: Sequence[Group], rate: Rates = FAST, before: Ahead = NOTHING) -> Overall:
    return figures(groups, work_of(groups), rate, before)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], {"documents": 0, "fraction": 1.0, "seconds_left": 0.0}),
        (
            [Group("ready", False, 3, 3, 30, 30)],
            {"finished": 3, "chunks_done": 30, "chunks_total": 30, "fraction": 1.0, "seconds_left": 0.0},
        ),
        (
            [Group("ready", False, 1, 1, 50, 50), Group("embedding", False, 1, 1, 10, 50)],
            {"chunks_done": 60, "chunks_total": 100, "fraction": 0.6, "seconds_left": 4.0},
        ),
        # Those that are still to be read are taken to be like those that were.
        (
            [Group("ready", False, 2, 2, 40, 40), Group("queued", False, 2)],
            {"documents": 4, "chunks_total": 40, "fraction": 0.5, "seconds_left": 4.0},
        ),
        # Of nothing but unread documents a guess must do.
        ([Group("parsing", False, 5)], {"fraction": 0.0, "seconds_left": 5.0}),
        # What failed counts with what it has done, so that the rest can come to an end.
        (
            [Group("failed", False, 1, 1, 4, 10), Group("embedding", False, 1, 1, 8, 20)],
            {"failed": 1, "chunks_done": 12, "chunks_total": 24, "fraction": 0.5, "seconds_left": 1.2},
        ),
        ([Group("cancelled", True, 2, 1, 3, 9)], {"chunks_total": 3, "fraction": 1.0, "paused": 0}),
        # Paused work is left, but nobody can say when it will go on.
        (
            [Group("embedding", True, 2, 2, 5, 20)],
            {"paused": 2, "fraction": 0.25, "seconds_left": None},
        ),
        (
            [Group("embedding", True, 1, 1, 0, 100), Group("embedding", False, 1, 1, 0, 10)],
            {"paused": 1, "fraction": 0.0, "seconds_left": 1.0},
        ),
        # A document without any chunk is only about to be called ready.
        ([Group("embedding", False, 1, 1, 0, 0)], {"fraction": 0.0, "seconds_left": None}),
    ],
)
def test_how_far(groups: list[Group], expected: dict[str, Any]) -> None:
    found = of(groups)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("groups", "rate", "before", "seconds"),
    [
        ([Group("embedding", False, 1, 1, 0, 100)], Rates(10, 0), NOTHING, 10.0),
        ([Group("embedding", False, 1, 1, 0, 100)], Rates(10, 0), Ahead(chunks=50), 15.0),
        ([Group("embedding", False, 1, 1, 0, 100)], Rates(0, 9), NOTHING, None),
        ([Group("queued", False, 100)], Rates(10, 0), NOTHING, None),
        # The slower of reading and embedding counts.
        ([Group("queued", False, 100)], Rates(1000, 1), NOTHING, 100.0),
        ([Group("queued", False, 100)], Rates(1000, 1), Ahead(documents=50), 150.0),
        ([Group("queued", False, 100)], Rates(10, 50), NOTHING, 100.0),
        # What is read before is embedded before as well.
        ([Group("queued", False, 100)], Rates(10, 50), Ahead(documents=50), 150.0),
    ],
)
def test_when_it_will_be_through(
    groups: list[Group], rate: Rates, before: Ahead, seconds: float | None
) -> None:
    found = of(groups, rate, before)
    assert found.seconds_left == seconds
    assert (found.rate, found.parse_rate, found.documents_ahead, found.ahead) == (*rate, *before)


@pytest.mark.parametrize(
    ("mine", "own", "others", "turns", "expected"),
    [
        (10, 0, [], 1, 0),
        (10, 5, [], 1, 5),
        (10, 0, [100_000], 1, 10),
        (10, 5, [100_000, 3], 1, 5 + 15 + 3),
        (1000, 0, [20, 30], 1, 50),
        (10.5, 0, [100], 1, 11),
        (10, 0, [100], 2, 5),
    ],
)
def test_turns_before(mine: float, own: int, others: list[int], turns: int, expected: int) -> None:
    assert turns_before(mine, own, others, turns) == expected


def before(document: Document) -> tuple[int, int]:
    """How many documents and how many chunks of others."""
    found = overall(Document.objects.filter(pk=document.pk))
    return found.documents_ahead, found.ahead


def words(count: int) -> list[str]:
    return [f"word {number}" for number in range(count)]


@pytest.mark.django_db
def test_what_comes_before_a_document(
    version: IndexVersion, collection: Collection, alice: User, charlie: User
) -> None:
    others = Collection.objects.create(name="Secret", slug="secret", owner=charlie)
    chunked(version, others, words(200))
    chunked(version, others, words(50), paused=True)
    first = chunked(version, collection, words(30))
    second = chunked(version, collection, words(20))
    assert before(first) == (0, 30), "a turn of the other collection for each of its own"
    assert before(second) == (0, 30 + 50)
    Document.objects.filter(pk=second.pk).update(paused=True)
    assert before(second) == (0, 0)
    assert before(first) == (0, 30)
    unread = Document.objects.create(collection=collection, title="new", filename="a.txt")
    assert before(unread) == (0, 30 + 30 + progress.GUESSED_CHUNKS)


@pytest.mark.django_db
def test_what_is_to_be_read_before_a_document(
    version: IndexVersion, collection: Collection, alice: User, charlie: User
) -> None:
    def queued(where: Collection, count: int = 1, **more: Any) -> Document:
        for _ in range(count):
            document = Document.objects.create(collection=where, title="new", filename="a.txt", **more)
        return document

    secret = Collection.objects.create(name="Secret", slug="secret", owner=charlie)
    queued(collection, 7)
    queued(collection, paused=True)
    mine = queued(collection)
    queued(collection, 3)
    queued(secret, 20)
    assert before(mine) == (7 + 8, 0), "a turn of the other collection for each of its own"
    for queue, rate in (("embed", 1000.0), ("parse", 2.0)):
        Heartbeat.objects.create(worker=queue, queue=queue, pid=1, at=timezone.now(), rate=rate)
    assert overall(Document.objects.filter(pk=mine.pk)).seconds_left == pytest.approx((1 + 15) / 2)
    assert before(chunked(version, collection, words(5))) == (0, 0), "it is read already"


@pytest.mark.django_db
def test_a_collection_as_a_whole(
    version: IndexVersion, collection: Collection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for queue, rate in (("embed", 40.0), ("embed", 10.0), ("parse", 7.0)):
        Heartbeat.objects.create(worker=f"{queue} {rate}", queue=queue, pid=1, at=timezone.now(), rate=rate)
    Heartbeat.objects.create(
        worker="gone", queue="embed", pid=1, at=timezone.now() - 2 * Heartbeat.objects.all().FRESH, rate=99
    )
    chunked(version, collection, words(60))
    chunked(version, collection, words(40))
    inputs = embedding_queue.lease(version, 50)
    embedding_queue.release(inputs[50:])
    Document.objects.create(collection=collection, title="new", filename="a.txt")
    with django_assert_num_queries(8):
        found = overall(collection.documents.all())
    assert (found.documents, found.chunks_done, found.chunks_total, found.ahead) == (3, 0, 100, 0)
    assert (found.rate, found.parse_rate) == (50.0, 7.0)
    assert found.seconds_left == pytest.approx((100 + 50) / 50)
    assert (found.states["embedding"], found.states["queued"], found.states["ready"]) == (2, 1, 0)
    embedding_queue.release(inputs)
    embed_all(version, Counting(version))
    found = overall(collection.documents.all())
    assert (found.finished, found.chunks_done, found.chunks_total) == (2, 100, 100)
    assert found.fraction == pytest.approx(100 / 150)


@pytest.mark.django_db
def test_the_stage_of_a_text_that_is_replaced_does_not_count(
    version: IndexVersion, collection: Collection
) -> None:
    document = chunked(version, collection, words(10))
    embed_all(version, Counting(version))
    Document.objects.filter(pk=document.pk).update(state=Document.State.QUEUED)
    assert DocumentStage.objects.get(document=document, stage="embed").done == 10
    assert overall(Document.objects.all()).chunks_total == 0
