"""Each stage leaves a row: what it did, in how many attempts, and how it ended; at next to no cost."""

import hashlib
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from kb.core import beating
from kb.core.beating import fall_silent
from kb.core.models import Collection, Heartbeat, User
from kb.documents import parsing, queueing, stages
from kb.documents.actions import add_document, replace_document
from kb.documents.models import Document, DocumentStage
from kb.indexes.models import Index
from retrieval.loading import LoadError
from retrieval.spans import LoadedText
from tests.conftest import ingest, load_here

pytestmark = pytest.mark.django_db

TEXT = "\n\n".join(
    f"Paragraph {word}. " + f"Words about {word}s. " * 60 for word in ("apple", "pear", "quince")
)


@pytest.fixture
def document(collection: Collection) -> Document:
    return Document.objects.create(collection=collection, title="a", filename="a.txt")


def stage(document: Document, name: str) -> DocumentStage:
    return DocumentStage.objects.get(document=document, stage=name)


def test_a_stage_from_its_beginning_to_its_end(document: Document) -> None:
    stages.begin(document.pk, "fetch", total=100, content_hash="ab", attempt=2)
    row = stage(document, "fetch")
    assert (row.state, row.done, row.total, row.content_hash, row.attempt) == ("running", 0, 100, "ab", 2)
    assert row.worker == stages.worker()
    stages.advance(document.pk, "fetch", 40)
    later = stage(document, "fetch")
    assert (later.done, later.heartbeat_at > row.heartbeat_at) == (40, True)
    stages.finish(document.pk, "fetch", reused=3)
    row.refresh_from_db()
    assert (row.state, row.done, row.total, row.reused) == ("done", 100, 100, 3)
    assert row.finished_at >= row.started_at
    assert row.seconds >= 0


def test_a_new_attempt_forgets_the_one_before(document: Document) -> None:
    stages.begin(document.pk, "embed", total=3)
    stages.fail(document.pk, "embed", "The model is away.")
    row = stage(document, "embed")
    assert (row.state, row.error, row.finished_at is None) == ("failed", "The model is away.", False)
    stages.begin(document.pk, "embed", total=5, attempt=2)
    row.refresh_from_db()
    assert (row.state, row.error, row.total, row.attempt, row.finished_at) == ("running", "", 5, 2, None)


def test_many_documents_take_one_statement_each(collection: Collection) -> None:
    ids = [
        Document.objects.create(collection=collection, title=str(n), filename=f"{n}.txt").pk for n in range(5)
    ]
    with CaptureQueriesContext(connection) as queries:
        stages.begin_many("embed", dict.fromkeys(ids, 7))
        stages.advance_many("embed", dict.fromkeys(ids[:3], 4))
        stages.finish_many("embed", ids[:2])
    assert len(queries) == 3
    rows = DocumentStage.objects.filter(stage="embed").order_by("-done").values_list("state", "done", "total")
    assert sorted(rows) == [
        ("done", 7, 7),
        ("done", 7, 7),
        ("running", 0, 7),
        ("running", 0, 7),
        ("running", 4, 7),
    ]


def test_what_is_done_is_not_advanced(document: Document) -> None:
    stages.begin(document.pk, "embed", total=7)
    stages.finish(document.pk, "embed")
    stages.advance(document.pk, "embed", 3)
    assert stage(document, "embed").done == 7


def test_only_what_runs_is_cancelled(document: Document) -> None:
    stages.begin(document.pk, "parse")
    stages.finish(document.pk, "parse")
    stages.begin(document.pk, "embed")
    stages.cancel(document.pk)
    assert dict(document.stages.values_list("stage", "state")) == {"parse": "done", "embed": "cancelled"}


def test_a_deleted_document_is_no_error(db: None) -> None:
    gone = uuid4()
    stages.begin(gone, "parse")
    stages.advance(gone, "parse", 1)
    stages.finish(gone, "parse")
    stages.fail(gone, "parse", "why")
    stages.begin_many("parse", {})
    assert not DocumentStage.objects.exists()


def test_parsing_tells_of_its_stages(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "fruit.txt", TEXT)
    parse, chunk, indexed = (stage(document, name) for name in ("parse", "chunk", "index"))
    chunks = document.chunks.count()
    assert (parse.state, parse.attempt, parse.reused, parse.content_hash) == (
        "done",
        1,
        0,
        document.current.sha256,
    )
    assert chunk.content_hash == hashlib.sha256(document.current.text.encode()).hexdigest()
    assert (
        (chunk.done, chunk.total, chunk.reused)
        == (indexed.done, indexed.total, indexed.reused)
        == (chunks, chunks, 0)
    )
    assert parse.started_at <= parse.finished_at <= chunk.finished_at <= indexed.finished_at


def test_the_chunks_that_did_not_change_are_counted(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "fruit.txt", TEXT)
    before = set(document.chunks.values_list("pk", flat=True))
    replace_document(alice, document, ContentFile(f"{TEXT}\n\nA new ending.".encode(), "fruit.txt"))
    parsing.parse(document.pk, load_here)
    row = stage(document, "chunk")
    after = set(document.chunks.values_list("pk", flat=True))
    assert (row.total, row.reused) == (len(after), len(before & after))
    assert 0 < row.reused < row.total


def test_a_failed_parse_says_so_on_its_row(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "a.txt", b"  \n")
    row = stage(document, "parse")
    assert (row.state, row.error, row.attempt) == ("failed", document.error, 1)


def test_stages_cost_a_statement_or_two(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    with CaptureQueriesContext(connection) as queries:
        parsing.parse(document.pk, load_here)
    about_stages = [query["sql"] for query in queries if "documents_documentstage" in query["sql"]]
    alone = [sql for sql in about_stages if "UPDATE documents_document document" not in sql]  # the claim's
    assert len(alone) <= 2, "one for parse, chunk and index; one for embed"


@pytest.mark.django_db(transaction=True)
def test_a_long_parse_shows_that_its_worker_lives(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(parsing, "SECONDS_TOGETHER", 60.0)
    fall_silent()
    documents = [
        add_document(alice, collection, ContentFile(name.encode(), f"{name}.txt")).document
        for name in ("one", "two")
    ]
    beaten = []

    def load(path: Path, filename: str) -> LoadedText:
        """Until all that was claimed together has been beaten for, also what waits behind this one."""
        for document in documents:
            row = stage(document, "parse")
            began, again = row.heartbeat_at, Event()
            while row.heartbeat_at == began:
                again.wait(0.01)
                row.refresh_from_db()
            beaten.append(row.state)
        return load_here(path, filename)

    parsing.parse_claimed(queueing.claim_next(collection.pk), load)
    assert beaten == ["running"] * 4
    assert Heartbeat.objects.get().queue == "parse"
    assert set(Document.objects.values_list("state", flat=True)) == {"embedding"}


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_for_a_moment_ends_no_signs_of_life(
    alice: User, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "BEAT_SECONDS", 0.01)
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    stages.begin(document.pk, "parse", total=1)
    row = stage(document, "parse")
    again, away = Event(), [True, True]

    def beat(queue: str) -> None:
        if away:
            away.pop()
            raise OperationalError("the database is away")

    monkeypatch.setattr(beating, "beat", beat)
    with stages.kept_alive([document.pk], "parse"):
        while away:
            again.wait(0.01)
        row.refresh_from_db()
        began = row.heartbeat_at
        while row.heartbeat_at == began:
            again.wait(0.01)
            row.refresh_from_db()


def test_an_attempt_is_counted(alice: User, collection: Collection, index: Index) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document

    def killed(path: Path, filename: str) -> LoadedText:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parsing.parse(document.pk, killed)
    Document.objects.update(claimed_until=timezone.now())
    parsing.parse(document.pk, load_here)
    assert (stage(document, "parse").attempt, stage(document, "parse").state) == (2, "done")


def test_the_last_attempt_tells_its_reason(alice: User, collection: Collection, index: Index) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document

    def fails(path: Path, filename: str) -> LoadedText:
        raise LoadError("timeout", "Reading the file took longer than 1 second.")

    parsing.parse(document.pk, fails)
    assert stage(document, "parse").error == "Reading the file took longer than 1 second."
