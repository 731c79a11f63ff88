"""Collections take turns, few messages stand for many documents, and no document blocks another."""

import errno
import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis.exceptions import ConnectionError as NoCache

from kb.core.models import Collection, User
from kb.documents import actions, parsing, queueing, tasks
from kb.documents.actions import add_document
from kb.documents.models import Chunk, Document, DocumentRevision, DocumentStage
from kb.documents.signals import chunks_changed
from kb.documents.tasks import parse_documents_task, sweep_documents_task, wake_parsing
from kb.indexes.models import Index, Segment
from retrieval.loading.errors import ReaderStopped
from retrieval.spans import LoadedText
from tests.conftest import load_here

pytestmark = pytest.mark.django_db

Sent = list[float | None]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """The messages that reach the broker: how many seconds each may wait there."""
    messages: Sent = []
    monkeypatch.setattr(tasks, "wake", lambda task, expires: messages.append(expires))
    return messages


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No collection was served before."""
    monkeypatch.setattr(queueing, "_served", {"last": 0})


def add(actor: User, collection: Collection, text: str) -> Document:
    return add_document(actor, collection, ContentFile(text.encode(), f"{text}.txt")).document


@pytest.fixture
def other(alice: User) -> Collection:
    return Collection.objects.create(name="Other", slug="other", owner=alice)


def test_the_longest_waiting_comes_first(alice: User, collection: Collection, index: Index) -> None:
    first, second, third = (add(alice, collection, text) for text in ("one", "two", "three"))
    assert queueing.claim_next(collection.pk, most=1) == [first]
    assert queueing.claim_next(collection.pk) == [second, third]
    assert queueing.claim_next(collection.pk) == []


def test_only_small_files_that_were_never_tried_are_taken_together(
    alice: User, collection: Collection, index: Index
) -> None:
    small, large, tried, other = (add(alice, collection, text) for text in ("one", "two", "three", "four"))
    DocumentRevision.objects.filter(document=large).update(size=queueing.SMALL + 1)
    Document.objects.filter(pk=tried.pk).update(attempts=1)
    assert queueing.claim_next(collection.pk) == [small, other]
    assert queueing.claim_next(collection.pk) == [large]
    assert queueing.claim_next(collection.pk) == [tried]


def test_what_is_given_back_is_as_before(alice: User, collection: Collection, index: Index) -> None:
    documents = [add(alice, collection, text) for text in ("one", "two", "three")]
    before = list(Document.objects.order_by("pk").values("state", "attempts", "queued_at", "claimed_until"))
    claimed = queueing.claim_next(collection.pk)
    cancelled = claimed.pop(1)
    actions.cancel(alice, cancelled)
    queueing.give_back(claimed)
    Document.objects.filter(pk=cancelled.pk).update(state="queued", attempts=0, claimed_until=None)
    assert (
        list(Document.objects.order_by("pk").values("state", "attempts", "queued_at", "claimed_until"))
        == before
    )
    assert set(DocumentStage.objects.values_list("document", flat=True)) == {cancelled.pk}
    assert queueing.claim_next(collection.pk) == documents


def test_what_is_paused_is_passed_over(alice: User, collection: Collection, index: Index) -> None:
    paused, waiting = (add(alice, collection, text) for text in ("one", "two"))
    Document.objects.filter(pk=paused.pk).update(paused=True)
    assert queueing.claim(paused.pk) is None
    assert queueing.claim_next(collection.pk) == [waiting]
    assert list(queueing.collections_waiting()) == []


def test_a_dropped_claim_is_taken_over_when_it_ends(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "one")
    assert queueing.claim_next(collection.pk) == [document]
    assert list(queueing.collections_waiting()) == []
    Document.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert list(queueing.collections_waiting()) == [collection.pk]
    [taken] = queueing.claim_next(collection.pk)
    assert taken.attempts == 2


def test_the_claim_of_a_worker_that_is_silent_is_taken_over_at_once(
    alice: User, collection: Collection, index: Index
) -> None:
    """Long before it ends by itself; should that worker live after all, it has lost the document."""
    add(alice, collection, "one")
    [before] = queueing.claim_next(collection.pk)
    DocumentStage.objects.update(heartbeat_at=timezone.now() - queueing.SILENT + timedelta(seconds=10))
    assert queueing.claim_next(collection.pk) == []
    assert not queueing.waiting().exists()
    DocumentStage.objects.update(heartbeat_at=timezone.now() - queueing.SILENT - timedelta(seconds=1))
    assert queueing.waiting().get() == before
    [taken] = queueing.claim_next(collection.pk)
    assert taken.attempts == 2
    assert queueing.mine(before) is None
    assert queueing.mine(taken) == before
    assert queueing.claim_next(collection.pk) == []


def test_the_queue_is_read_by_its_index(alice: User, collection: Collection, index: Index) -> None:
    revision = add(alice, collection, "one").incoming
    Document.objects.bulk_create(
        Document(collection=collection, title=str(n), filename="a.txt", state=state, incoming=revision)
        for n in range(2000)
        for state in ("queued", "ready")
    )
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE documents_document")
        cursor.execute(
            f"EXPLAIN {queueing.NEXT_OF_COLLECTION}",
            {
                "collection": collection.pk,
                "now": now,
                "until": now,
                "silent": now,
                "worker": "",
                "most": 16,
                "small": 1,
            },
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    _, _, which = plan.partition("CTE next")
    which, found, _ = which.partition("CTE weighed")
    assert found
    assert "document_queue" in which
    assert "Sort" not in which, "the first in the index is the next"


def test_ten_thousand_files_are_one_message(
    alice: User, collection: Collection, sent: Sent, django_capture_on_commit_callbacks: object
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        for number in range(50):
            add(alice, collection, f"file {number}")
    for _ in range(10_000):
        wake_parsing()
    assert len(sent) == 1


def test_a_message_that_was_taken_makes_room_for_the_next(
    alice: User, collection: Collection, index: Index, sent: Sent
) -> None:
    wake_parsing()
    parse_documents_task()
    wake_parsing()
    assert len(sent) == 2


def test_without_a_cache_every_message_is_sent(
    collection: Collection, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NoCache

    monkeypatch.setattr(cache, "add", refuse)
    monkeypatch.setattr(cache, "delete", refuse)
    for _ in range(3):
        wake_parsing()
    parse_documents_task()
    assert len(sent) == 3


def test_a_turn_ends_and_the_successor_goes_to_the_end_of_the_queue(
    alice: User, collection: Collection, index: Index, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("one", "two", "three"):
        add(alice, collection, text)
    monkeypatch.setattr(tasks, "SECONDS_PER_TURN", -1)
    parse_documents_task()
    assert len(sent) == 1, "a free worker may help, and that message is the successor, too"
    assert Document.objects.filter(state="queued").count() == 3


def test_collections_take_turns(
    alice: User, collection: Collection, other: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred documents of one do not hold up the single one of another for longer than a turn."""
    for number in range(100):
        add(alice, collection, f"file {number}")
    monkeypatch.setattr(queueing, "SMALL", 1)  # bytes: each is taken alone
    small = add(alice, other, "small")
    turn = parsing.parse_for
    monkeypatch.setattr(parsing, "parse_for", lambda collection, _: turn(collection, 0.0001, load_here))
    for _ in range(2):
        parse_documents_task()
    small.refresh_from_db()
    assert small.state == "embedding"
    assert Document.objects.filter(state="queued").count() == 99


def test_turns_go_round(alice: User, collection: Collection, other: Collection) -> None:
    third = Collection.objects.create(name="Third", slug="third", owner=alice)
    assert queueing.next_collection() is None
    for where in (collection, other, third):
        add(alice, where, f"one of {where.slug}")
    assert [queueing.next_collection() for _ in range(4)] == [
        collection.pk, other.pk, third.pk, collection.pk
    ]  # fmt: skip
    Document.objects.filter(collection=other).delete()
    assert queueing.next_collection() == third.pk


class Broker:
    """A queue of messages and the clock of cache and messages: what is taken too late is dropped."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ends: list[float] = []

    def time(self) -> float:
        return self.now

    def wake(self, task: object, expires: float) -> None:
        self.ends.append(self.now + expires)

    def waiting(self) -> int:
        return sum(end > self.now for end in self.ends)

    def take(self) -> bool:
        while self.ends:
            if self.ends.pop(0) > self.now:
                return True
        return False


def test_slow_turns_do_not_multiply_messages(
    alice: User, collection: Collection, other: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers whose turns take a minute, an hour long, while the sweep comes every ten seconds."""
    broker = Broker()
    monkeypatch.setattr("django.core.cache.backends.base.time", broker)
    monkeypatch.setattr("django.core.cache.backends.locmem.time", broker)
    monkeypatch.setattr(tasks, "wake", broker.wake)
    monkeypatch.setattr(parsing, "parse_for", lambda *_: True)
    for where in (collection, other):
        for number in range(2):
            add(alice, where, f"{where.slug} {number}")
    ends = [0.0, 5.0]  # of the workers' turns
    turns = 0
    for second in range(3600):
        broker.now = float(second)
        if second % 10 == 0:
            sweep_documents_task()
        for worker, end in enumerate(ends):
            if end <= second and broker.take():
                parse_documents_task()
                ends[worker] = second + 60.0
                turns += 1
        assert broker.waiting() <= 1
        assert len(broker.ends) <= 4, "what was dropped does not pile up"
    assert turns > 100


def test_a_turn_works_everything_off(alice: User, collection: Collection, index: Index) -> None:
    for number in range(5):
        add(alice, collection, f"file {number}")
    assert parsing.parse_for(collection.pk, 60, load_here) is False
    assert set(Document.objects.values_list("state", flat=True)) == {"embedding"}


def test_an_error_of_the_program_is_one_documents_alone_and_ends_failed(
    alice: User, collection: Collection, index: Index
) -> None:
    bad, good = (add(alice, collection, text) for text in ("poison", "good"))

    def load(path: Path, filename: str) -> LoadedText:
        if "poison" in filename:
            raise ZeroDivisionError
        return load_here(path, filename)

    order: list[UUID] = []
    for _ in range(parsing.MOST_ATTEMPTS):
        parsing.parse_for(collection.pk, 60, load)
        order.append(bad.pk)
    for document in (bad, good):
        document.refresh_from_db()
    assert good.state == "embedding"
    assert (bad.state, bad.error_code, bad.attempts) == ("failed", "internal", parsing.MOST_ATTEMPTS)
    assert "ZeroDivisionError" in bad.error
    assert actions.retry_failed(alice, bad) == 1


def test_small_documents_are_written_in_one_transaction(
    alice: User, collection: Collection, index: Index
) -> None:
    documents = [add(alice, collection, f"file {number}") for number in range(8)]
    with CaptureQueriesContext(connection) as captured:
        assert parsing.parse_for(collection.pk, 60, load_here) is False
    statements = [query["sql"] for query in captured.captured_queries]
    assert sum("SAVEPOINT" in sql and "RELEASE" not in sql for sql in statements) <= 3
    assert len([sql for sql in statements if "pg_get_serial_sequence('documents_chunk'" in sql]) == 1
    assert [segment.count for segment in Segment.objects.all()] == [8]
    for document in documents:
        document.refresh_from_db()
        assert (document.state, document.attempts, document.title) == ("embedding", 0, document.filename[:-4])
        assert document.current.text == document.title
        assert [chunk.text for chunk in document.chunks.all()] == [document.title]
        assert set(document.stages.values_list("stage", "state")) == {
            ("parse", "done"), ("chunk", "done"), ("index", "done"), ("embed", "running")
        }  # fmt: skip


def test_of_documents_written_together_one_that_cannot_be_written_fails_alone(
    alice: User, collection: Collection, index: Index
) -> None:
    bad, good, other = (add(alice, collection, text) for text in ("poison", "good", "other"))

    def refuse(sender: object, *, documents: list[Document], **_: object) -> None:
        if bad in documents:
            raise ZeroDivisionError

    chunks_changed.connect(refuse)
    try:
        parsing.parse_for(collection.pk, 60, load_here)
    finally:
        chunks_changed.disconnect(refuse)
    for document in (bad, good, other):
        document.refresh_from_db()
    assert (bad.state, bad.error_code, bad.attempts) == ("failed", "internal", parsing.MOST_ATTEMPTS)
    assert not bad.chunks.exists()
    assert bad.current is None
    assert {good.state, other.state} == {"embedding"}
    assert good.chunks.count() == other.chunks.count() == 1


def test_of_documents_written_together_one_that_was_deleted_is_left_out(
    alice: User, collection: Collection, index: Index
) -> None:
    gone, stays = (add(alice, collection, text) for text in ("gone", "stays"))

    def load(path: Path, filename: str) -> LoadedText:
        if "stays" in filename:
            actions.delete_document(alice, gone)
        return load_here(path, filename)

    parsing.parse_for(collection.pk, 60, load)
    assert [chunk.document for chunk in Chunk.objects.all()] == [stays]


def test_what_takes_long_gives_the_others_back(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, second, third = (add(alice, collection, text) for text in ("slow", "two", "three"))
    monkeypatch.setattr(parsing, "SECONDS_TOGETHER", 0.0)
    claimed = queueing.claim_next(collection.pk)
    assert claimed == [slow, second, third]
    parsing.parse_claimed(claimed, load_here)
    assert list(Document.objects.order_by("queued_at").values_list("state", "attempts")) == [
        ("embedding", 0), ("queued", 0), ("queued", 0)
    ]  # fmt: skip


def test_a_document_whose_worker_dies_at_each_attempt_ends_failed(
    alice: User, collection: Collection, index: Index
) -> None:
    bad, good = (add(alice, collection, text) for text in ("poison", "good"))
    for _ in range(parsing.MOST_ATTEMPTS):
        assert queueing.claim(bad.pk) is not None
        Document.objects.filter(pk=bad.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    parsing.parse_for(collection.pk, 60, load_here)
    for document in (bad, good):
        document.refresh_from_db()
    assert (bad.state, bad.error_code, good.state) == ("failed", "crashed", "embedding")


def test_an_error_of_the_database_in_between_keeps_what_was_read(
    alice: User, collection: Collection, index: Index
) -> None:
    for name in ("one", "two", "three"):
        add(alice, collection, name)
    loads: list[str] = []

    def load(path: Path, filename: str) -> LoadedText:
        loads.append(filename)
        if len(loads) == 2:
            raise KeyboardInterrupt
        return load_here(path, filename)

    with pytest.raises(KeyboardInterrupt):
        parsing.parse_claimed(queueing.claim_next(collection.pk), load)
    states = dict(Document.objects.values_list("filename", "state"))
    assert states == {"one.txt": "embedding", "two.txt": "parsing", "three.txt": "queued"}


def test_a_stopped_reader_is_not_the_fault_of_the_file(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "one")
    stops = [True, True, False]

    def load(path: Path, filename: str) -> LoadedText:
        if stops.pop(0):
            raise ReaderStopped
        return load_here(path, filename)

    parsing.parse_for(collection.pk, 60, load)
    document.refresh_from_db()
    assert (document.state, stops) == ("embedding", [])


@pytest.mark.parametrize("full", [1, 5])
def test_a_full_disk_is_not_the_fault_of_the_file(
    full: int, alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "one")
    tries: list[str] = []

    def load(path: Path, filename: str) -> LoadedText:
        tries.append(filename)
        if len(tries) <= full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return load_here(path, filename)

    parsing.parse_for(collection.pk, 60, load)
    document.refresh_from_db()
    if full < parsing.MOST_ATTEMPTS:
        assert document.state == "embedding"
    else:
        assert (document.state, document.error_code) == ("failed", "not_stored")
        assert "No space left on device" in document.error
