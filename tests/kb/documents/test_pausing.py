"""Work is paused, resumed, cancelled and taken up again: one document, an upload, a collection."""

from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.documents import parsing, queueing
from kb.documents.actions import (
    add_document,
    cancel,
    open_upload,
    pause,
    replace_document,
    resume,
    retry_document,
    retry_failed,
)
from kb.documents.models import Chunk, Document, DocumentStage, Upload
from kb.indexes import embedding, embedding_queue, embedding_table
from kb.indexes.models import EmbeddingJob, Index
from retrieval.spans import LoadedText
from tests.conftest import ingest, load_here, work_off
from tests.kb.indexes.versions import beside

pytestmark = pytest.mark.django_db

TEXT = "\n\n".join(
    f"Paragraph {word}. " + f"Words about {word}s. " * 60 for word in ("apple", "pear", "quince")
)


def add(actor: User, collection: Collection, name: str, upload: Upload | None = None) -> Document:
    return add_document(
        actor, collection, ContentFile(f"{name} {TEXT}".encode(), name), upload=upload
    ).document


@pytest.fixture
def upload(alice: User, collection: Collection) -> Upload:
    return open_upload(alice, collection, Upload.Origin.API, "Fruit")


@pytest.fixture
def three(alice: User, collection: Collection, index: Index, upload: Upload) -> list[Document]:
    """One embedding, one queued, both of the upload; one queued of another."""
    embedding_one = add(alice, collection, "a.txt", upload)
    parsing.parse(embedding_one.pk, load_here)
    return [embedding_one, add(alice, collection, "b.txt", upload), add(alice, collection, "c.txt")]


def states(documents: list[Document]) -> list[str]:
    for document in documents:
        document.refresh_from_db()
    return [document.state for document in documents]


def paused(documents: list[Document]) -> list[bool]:
    states(documents)
    return [document.paused for document in documents]


def test_a_paused_upload_waits_with_its_jobs_and_goes_on(
    alice: User, index: Index, upload: Upload, three: list[Document]
) -> None:
    assert pause(alice, upload) == 2
    assert paused(three) == [True, True, False]
    jobs = EmbeddingJob.objects.filter(chunk__document=three[0])
    assert set(jobs.values_list("paused", flat=True)) == {True}
    assert queueing.claim(three[1].pk) is None
    assert pause(alice, upload) == 2, "twice is no error"
    assert resume(alice, upload) == 2
    assert paused(three) == [False, False, False]
    assert set(jobs.values_list("paused", flat=True)) == {False}
    work_off()
    assert states(three) == ["ready"] * 3


def test_a_paused_upload_pauses_what_comes_later(
    alice: User, collection: Collection, upload: Upload, three: list[Document]
) -> None:
    pause(alice, upload)
    upload.refresh_from_db()
    assert upload.paused
    later, apart = add(alice, collection, "d.txt", upload), add(alice, collection, "e.txt")
    assert paused([later, apart]) == [True, False]
    cancel(alice, later)
    assert retry_failed(alice, collection) == 1
    assert paused([later]) == [True]
    assert resume(alice, upload) == 3
    work_off()
    assert states([*three, later, apart]) == ["ready"] * 5


def test_a_collection_that_goes_on_takes_its_uploads_along(
    alice: User, collection: Collection, upload: Upload, three: list[Document]
) -> None:
    pause(alice, upload)
    assert resume(alice, collection) == 2
    assert paused([*three, add(alice, collection, "d.txt", upload)]) == [False] * 4


def test_a_paused_collection_pauses_what_comes_later(
    alice: User, collection: Collection, three: list[Document]
) -> None:
    assert pause(alice, collection) == 3
    later = add(alice, collection, "d.txt")
    assert later.paused
    collection.refresh_from_db()
    assert collection.paused
    assert queueing.claim_next(collection.pk) == []
    assert resume(alice, collection) == 4
    work_off()
    assert states([*three, later]) == ["ready"] * 4


def test_paused_while_it_is_parsed_it_is_parsed_to_its_end_and_waits(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "a.txt")

    def load(path: Path, filename: str) -> LoadedText:
        assert pause(alice, document) == 1
        return load_here(path, filename)

    parsing.parse(document.pk, load)
    assert (states([document]), document.paused) == (["embedding"], True)
    assert set(EmbeddingJob.objects.values_list("paused", flat=True)) == {True}
    resume(alice, document)
    work_off()
    assert states([document]) == ["ready"]


def test_what_a_cancelled_worker_made_is_thrown_away(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "a.txt")

    def load(path: Path, filename: str) -> LoadedText:
        assert cancel(alice, document) == 1
        return load_here(path, filename)

    parsing.parse(document.pk, load)
    assert states([document]) == ["cancelled"]
    assert not Chunk.objects.exists()
    assert dict(document.stages.values_list("stage", "state")) == {"parse": "cancelled"}
    retry_document(alice, document)
    work_off()
    assert states([document]) == ["ready"]


def test_cancelled_and_retried_while_a_worker_is_still_at_it(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "a.txt")

    def load(path: Path, filename: str) -> LoadedText:
        cancel(alice, document)
        retry_document(alice, document)
        parsing.parse(document.pk, load_here)
        return LoadedText("Something else.", "", "text/plain")

    parsing.parse(document.pk, load)
    document.refresh_from_db()
    assert "apple" in document.current.text
    assert document.chunks.filter(text__contains="Something").count() == 0


def test_a_cancelled_upload_leaves_nothing_at_work_and_keeps_its_files(
    alice: User, index: Index, upload: Upload, three: list[Document]
) -> None:
    assert cancel(alice, upload) == 2
    assert states(three) == ["cancelled", "cancelled", "queued"]
    assert not Chunk.objects.exists()
    assert not EmbeddingJob.objects.exists()
    assert not DocumentStage.objects.filter(document__in=three[:2], state="running").exists()
    for document in three[:2]:
        newest = document.incoming or document.current
        assert default_storage.exists(newest.file.name)
    assert retry_failed(alice, upload) == 2
    work_off()
    assert states(three) == ["ready"] * 3
    assert embedding_table.count(index.live_version) == Chunk.objects.count()


def test_what_is_ready_stays_so(alice: User, collection: Collection, index: Index) -> None:
    ready = ingest(alice, collection, "ready.txt", TEXT)
    add(alice, collection, "a.txt")
    assert cancel(alice, collection) == 1
    assert states([ready]) == ["ready"]
    assert ready.chunks.exists()


def test_a_cancelled_replacement_leaves_the_present_text(
    alice: User, collection: Collection, index: Index, django_capture_on_commit_callbacks: object
) -> None:
    document = ingest(alice, collection, "a.txt", TEXT)
    chunks = list(document.chunks.values_list("pk", flat=True))
    replace_document(alice, document, ContentFile(b"Other words.", "a.txt"))
    document.refresh_from_db()
    other = document.incoming.file.name
    with django_capture_on_commit_callbacks(execute=True):
        assert cancel(alice, document) == 1
    assert states([document]) == ["ready"]
    assert (document.current.number, document.incoming) == (1, None)
    assert list(document.chunks.values_list("pk", flat=True)) == chunks
    assert not default_storage.exists(other)
    replace_document(alice, document, ContentFile(b"Yet other words.", "a.txt"))
    work_off()
    assert states([document]) == ["ready"]
    assert document.current.text == "Yet other words."


def test_a_replacement_cancelled_before_the_first_text_was_embedded(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "a.txt")
    parsing.parse(document.pk, load_here)
    EmbeddingJob.objects.update(attempts=EmbeddingJob.MOST_ATTEMPTS)
    replace_document(alice, document, ContentFile(b"Other words.", "a.txt"))
    cancel(alice, document)
    assert states([document]) == ["embedding"]
    work_off()
    assert states([document]) == ["ready"]
    assert "apple" in document.current.text


def test_a_newer_text_cancelled_while_it_is_embedded_keeps_what_is_finished(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "a.txt", TEXT)
    replace_document(alice, document, ContentFile(f"{TEXT}\n\nAn end. {TEXT}".encode(), "a.txt"))
    parsing.parse(document.pk, load_here)
    assert EmbeddingJob.objects.exists()
    finished = document.chunks.exclude(pk__in=EmbeddingJob.objects.values("chunk"))
    kept = set(finished.values_list("pk", flat=True))
    cancel(alice, document)
    assert states([document]) == ["cancelled"]
    assert set(document.chunks.values_list("pk", flat=True)) == kept != set()
    retry_document(alice, document)
    work_off()
    assert states([document]) == ["ready"]
    assert embedding_table.count(index.live_version) == document.chunks.count() > len(kept)


def test_what_is_searched_stays_while_a_build_still_wants_all_of_it(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "a.txt", TEXT)
    made = beside(index.live_version)
    replace_document(alice, document, ContentFile(f"{TEXT}\n\nAn end. {TEXT}".encode(), "a.txt"))
    parsing.parse(document.pk, load_here)
    assert EmbeddingJob.objects.filter(version=made).count() == document.chunks.count()
    waiting = EmbeddingJob.objects.filter(version=index.live_version).values("chunk")
    kept = set(document.chunks.exclude(pk__in=waiting).values_list("pk", flat=True))
    cancel(alice, document)
    assert states([document]) == ["cancelled"]
    assert set(document.chunks.values_list("pk", flat=True)) == kept != set()


def test_retrying_takes_up_all_that_failed_or_was_cancelled(
    alice: User, collection: Collection, index: Index
) -> None:
    failed = ingest(alice, collection, "empty.txt", b"  \n")
    ready = ingest(alice, collection, "ready.txt", TEXT)
    cancelled = add(alice, collection, "c.txt")
    cancel(alice, cancelled)
    assert retry_failed(alice, collection) == 2
    assert states([failed, ready, cancelled]) == ["queued", "ready", "queued"]
    assert (failed.error, failed.error_code, failed.attempts) == ("", "", 0)


def test_what_has_no_file_is_not_queued_for_ever(alice: User, collection: Collection) -> None:
    bare = Document.objects.create(collection=collection, title="bare", filename="a.html", state="failed")
    assert retry_failed(alice, collection) == 0
    assert states([bare]) == ["failed"]


@pytest.mark.parametrize("action", [pause, resume, cancel, retry_failed])
def test_what_there_is_nothing_to_do_for_is_told(
    alice: User, collection: Collection, index: Index, action: object
) -> None:
    document = ingest(alice, collection, "ready.txt", TEXT)
    with pytest.raises(Problem) as refused:
        action(alice, document)
    assert refused.value.status == 409
    assert action(alice, collection) == 0


@pytest.mark.parametrize("action", [pause, resume, cancel, retry_failed])
@pytest.mark.parametrize("kind", ["document", "upload", "collection"])
def test_who_may_not(
    bob: User,
    charlie: User,
    collection: Collection,
    upload: Upload,
    three: list[Document],
    action: object,
    kind: str,
) -> None:
    scope = {"document": three[0], "upload": upload, "collection": collection}[kind]
    for user, status in ((bob, 403), (charlie, 404)):
        with pytest.raises(Problem) as refused:
            action(user, scope)
        assert refused.value.status == status
    assert states(three) == ["embedding", "queued", "queued"]
    assert paused(three) == [False] * 3


def test_each_is_in_the_audit_log(
    alice: User, collection: Collection, upload: Upload, three: list[Document]
) -> None:
    for action in (pause, resume, cancel, retry_failed):
        action(alice, upload)
    verbs = AuditEntry.objects.filter(subject__contains=str(upload.pk)).order_by("pk")
    assert list(verbs.values_list("verb", "actor")) == [
        (verb, alice.pk) for verb in ("open", "pause", "resume", "cancel", "retry")
    ]


def test_each_takes_the_same_few_statements_for_any_number(
    alice: User, collection: Collection, index: Index, upload: Upload, django_assert_max_num_queries: object
) -> None:
    for number in range(30):
        add(alice, collection, f"{number}.txt", upload)
    for action in (pause, resume, cancel, retry_failed):
        with django_assert_max_num_queries(20):
            assert action(alice, upload) == 30


def test_an_upload_is_of_its_collection(alice: User, collection: Collection, upload: Upload) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    with pytest.raises(Problem) as refused:
        add(alice, other, "a.txt", upload)
    assert refused.value.code == "not_found"
    assert add(alice, collection, "a.txt", upload).upload == upload


def test_an_upload_needs_an_editor_and_a_known_origin(
    alice: User, bob: User, charlie: User, collection: Collection
) -> None:
    for user, status in ((bob, 403), (charlie, 404)):
        with pytest.raises(Problem) as refused:
            open_upload(user, collection, Upload.Origin.API)
        assert refused.value.status == status
    with pytest.raises(Problem, match="origin"):
        open_upload(alice, collection, "nowhere")
    assert open_upload(alice, collection, "api", "x" * 300 + "\x00").name == "x" * 255


def test_a_vector_that_comes_after_the_cancelling_is_not_kept(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add(alice, collection, "a.txt")
    parsing.parse(document.pk, load_here)
    inputs = embedding_queue.lease(index.live_version)
    cancel(alice, document)
    embedding.embed_batch(index.live_version, inputs)
    assert states([document]) == ["cancelled"]
    assert embedding_table.count(index.live_version) == 0


def test_cancelled_twice_and_taken_up_in_between_it_can_be_taken_up_again(
    alice: User, collection: Collection, index: Index
) -> None:
    """Its chunks went with the first time: nothing is left that could serve on."""
    document = add(alice, collection, "a.txt")
    parsing.parse(document.pk, load_here)
    cancel(alice, document)
    retry_document(alice, document)
    cancel(alice, document)
    document.refresh_from_db()
    assert document.state == "cancelled"
    retry_document(alice, document)
    work_off()
    document.refresh_from_db()
    assert document.state == "ready"
    assert document.chunks.exists()
