"""Documents go in, are replaced, retried and deleted; the same input gives the same chunks."""

from datetime import timedelta

import pytest
from celery.worker import state
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.documents import originals, parsing, queueing
from kb.documents.actions import (
    add_document,
    add_documents,
    add_or_replace_document,
    delete_document,
    reparse_document,
    replace_document,
    retry_document,
)
from kb.documents.chunks import COLUMNS
from kb.documents.models import Chunk, Document
from kb.documents.tasks import SECONDS_PER_TURN, parse_document_task, parse_documents_task
from kb.indexes import embedding, embedding_queue, embedding_table, settling
from kb.indexes.models import EmbeddingJob, Index, PostingBlock, Tombstone
from kb.indexes.tasks import stopping, sweep_embeddings_task
from tests.conftest import ingest, load_here, work_off

pytestmark = pytest.mark.django_db

THREE = "\n\n".join(
    f"Paragraph {word}. " + f"The {word} one speaks of {word}s at length. " * 30
    for word in ("apple", "pear", "quince")
)


def vectors(index: Index) -> dict[int, bytes]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT chunk_id, content_hash FROM {index.live_version.table}")
        return {chunk: bytes(content) for chunk, content in cursor.fetchall()}


def test_a_document_becomes_ready(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    assert document.state == Document.State.READY
    assert document.title == "fruit"
    assert len(document.chunks.all()) >= 3
    assert set(vectors(index)) == set(document.chunks.values_list("pk", flat=True))


def test_invariant_1_every_chunk_is_its_span(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "fruit.md", f"# Fruit\n\n{THREE}\n\n## Nuts ☕\n\n{THREE}")
    for chunk in document.chunks.select_related("revision"):
        assert chunk.revision.text[chunk.start : chunk.end] == chunk.text


def test_every_column_of_a_chunk_is_copied() -> None:
    """A new one would be left to the database's default, which it does not have."""
    assert [field.column for field in Chunk._meta.concrete_fields] == list(COLUMNS)


def test_invariant_2_one_embedding_or_a_job(alice: User, collection: Collection, index: Index) -> None:
    document = add_document(alice, collection, ContentFile(THREE.encode(), "fruit.txt")).document
    parsing.parse(document.pk, load_here)
    chunks = set(document.chunks.values_list("pk", flat=True))
    assert set(EmbeddingJob.objects.values_list("chunk", flat=True)) == chunks
    work_off()
    expected = {
        chunk.pk: embedding_queue.content_hash(index.live_version.model, chunk.rendered_hash)
        for chunk in document.chunks.all()
    }
    assert vectors(index) == expected
    assert not EmbeddingJob.objects.exists()


def test_parsing_twice_gives_one_set_of_chunks(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    before = list(document.chunks.values_list("pk", "start"))
    parsing.parse(document.pk, load_here)
    assert list(document.chunks.values_list("pk", "start")) == before


def test_a_claim_is_taken_once(alice: User, collection: Collection, index: Index) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    assert queueing.claim(document.pk) is not None
    assert queueing.claim(document.pk) is None


def test_the_same_file_twice_is_one_document(alice: User, collection: Collection, index: Index) -> None:
    first = add_document(alice, collection, ContentFile(b"words", "a.txt"))
    second = add_document(alice, collection, ContentFile(b"words", "a.txt"))
    assert (first.created, second.created) == (True, False)
    assert first.document == second.document


def test_replacing_keeps_unchanged_chunks_and_their_vectors(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    before = set(document.chunks.values_list("pk", flat=True))
    replace_document(
        alice, document, ContentFile((THREE + "\n\nA new ending about medlars.").encode(), "fruit.txt")
    )
    assert Chunk.objects.filter(pk__in=before).count() == len(before), "the present revision serves on"
    work_off()
    after = set(document.chunks.values_list("pk", flat=True))
    assert len(before & after) >= len(before) - 1
    assert after != before
    assert set(vectors(index)) == after
    document.refresh_from_db()
    assert document.state == Document.State.READY
    assert document.current.number == 2
    for chunk in document.chunks.select_related("revision"):
        assert chunk.revision == document.current
        assert chunk.revision.text[chunk.start : chunk.end] == chunk.text


def test_a_failed_replacement_leaves_the_present_revision(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    replace_document(alice, document, ContentFile(b"%PDF-1.7 broken", "fruit.pdf"))
    work_off()
    document.refresh_from_db()
    assert document.state == Document.State.FAILED
    assert document.error
    assert document.current.number == 1
    assert document.chunks.exists()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("a.exe", b"MZ", "unsupported"), ("a", b"words", "unsupported"), ("a.txt", b"", "empty")],
)
def test_what_cannot_be_taken_is_refused_at_once(
    alice: User, collection: Collection, name: str, content: bytes, code: str
) -> None:
    with pytest.raises(Problem) as refused:
        add_document(alice, collection, ContentFile(content, name))
    assert refused.value.code == code
    assert not Document.objects.exists()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("/etc/passwd.txt", "passwd.txt"),
        ("C:\\Windows\\win.txt", "win.txt"),
        ("a\x00b\r\nc\x1b[31m.txt", "abc[31m.txt"),
        ("invoice\u202efdp.txt", "invoicefdp.txt"),
        ("ü/€ häßlich.txt", "€ häßlich.txt"),
        (f"{'x' * 300}.txt", f"{'x' * 251}.txt"),
    ],
)
def test_of_a_name_neither_path_nor_control_characters_are_kept(
    alice: User, collection: Collection, given: str, stored: str
) -> None:
    document = add_document(alice, collection, ContentFile(b"Words.", "a.txt"), given).document
    assert document.filename == document.revisions.get().filename == stored
    assert document.revisions.get().file.name.startswith("originals/")


@pytest.mark.parametrize("given", ["..", "../", "/", "\x00", ".txt", "a.txt/.."])
def test_a_name_of_which_nothing_is_left_is_refused(alice: User, collection: Collection, given: str) -> None:
    with pytest.raises(Problem, match="Files without a suffix"):
        add_document(alice, collection, ContentFile(b"Words.", "a.txt"), given)


def test_too_large_is_refused(alice: User, collection: Collection, settings: object) -> None:
    settings.MAX_UPLOAD_BYTES = 10
    with pytest.raises(Problem) as refused:
        add_document(alice, collection, ContentFile(b"x" * 11, "a.txt"))
    assert (refused.value.code, refused.value.status) == ("too_large", 413)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.pdf", b"%PDF-1.7 nothing", "broken"),
        ("a.pdf", b"\x89PNG\r\n\x1a\n" + bytes(50), "mismatch"),
        ("a.txt", b"  \n", "empty"),
    ],
)
def test_bad_files_fail_with_their_reason(
    alice: User, collection: Collection, index: Index, name: str, content: bytes, code: str
) -> None:
    document = ingest(alice, collection, name, content)
    assert (document.state, document.error_code) == (Document.State.FAILED, code)
    assert document.error


def test_a_failed_document_can_be_retried(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "a.txt", b"  \n")
    retry_document(alice, document)
    document.refresh_from_db()
    assert (document.state, document.error) == (Document.State.QUEUED, "")
    with pytest.raises(Problem, match="Only a failed or cancelled document"):
        retry_document(alice, document)


def test_reparsing_adds_a_revision_and_keeps_the_chunks(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    before = list(document.chunks.values_list("pk", flat=True))
    reparse_document(alice, document)
    work_off()
    document.refresh_from_db()
    assert document.current.number == 2
    assert list(document.chunks.values_list("pk", flat=True)) == before


def test_deleting_leaves_nothing(
    alice: User, collection: Collection, index: Index, django_capture_on_commit_callbacks: object
) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    chunks = document.chunks.count()
    name = document.current.file.name
    assert default_storage.exists(name)
    with django_capture_on_commit_callbacks(execute=True):
        delete_document(alice, document)
    assert not Chunk.objects.exists()
    assert vectors(index) == {}
    assert Tombstone.objects.count() == chunks
    assert not default_storage.exists(name)


def test_raw_sql_deletion_takes_vectors_and_jobs_along(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM documents_chunk WHERE document_id = %s", [document.pk])
    assert embedding_table.count(index.live_version) == 0
    assert Tombstone.objects.exists()


def test_deleting_a_collection_takes_all_along(alice: User, collection: Collection, index: Index) -> None:
    ingest(alice, collection, "fruit.txt", THREE)
    collection.delete()
    assert vectors(index) == {}
    assert not PostingBlock.objects.exists()


def test_equal_files_share_one_original(alice: User, collection: Collection, index: Index) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    first = ingest(alice, collection, "a.txt", THREE)
    second = ingest(alice, other, "b.txt", THREE)
    delete_document(alice, first)
    assert not originals.remove_unused(second.current.sha256)
    assert default_storage.exists(second.current.file.name)


def test_strangers_and_readers_may_not_change(
    alice: User, bob: User, charlie: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "a.txt", "words")
    for user, status in ((bob, 403), (charlie, 404)):
        with pytest.raises(Problem) as refused:
            delete_document(user, document)
        assert refused.value.status == status
    assert Document.objects.filter(pk=document.pk).exists()


def test_the_audit_repairs_lost_jobs_and_stale_vectors(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "fruit.txt", THREE)
    first, second = document.chunks.all()[:2]
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {index.live_version.table} WHERE chunk_id = %s", [first.pk])
        cursor.execute(
            f"UPDATE {index.live_version.table} SET content_hash = 'x' WHERE chunk_id = %s", [second.pk]
        )
    assert embedding_queue.enqueue_missing(index.live_version) == 2
    work_off()
    assert embedding_queue.enqueue_missing(index.live_version) == 0


def test_a_chunk_deleted_while_it_is_embedded_leaves_no_vector(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add_document(alice, collection, ContentFile(THREE.encode(), "fruit.txt")).document
    parsing.parse(document.pk, load_here)
    inputs = embedding_queue.lease(index.live_version)
    delete_document(alice, document)
    embedding.embed_batch(index.live_version, inputs)
    assert vectors(index) == {}


class Poisoned:
    """Fails on one text, whatever batch it comes in."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def embed(self, texts: list[str], kind: str) -> object:
        if any("poison" in text for text in texts):
            raise RuntimeError("no vector for this")
        return self.inner.embed(texts, kind)

    def describe(self) -> object:
        return self.inner.describe()


def test_a_poison_document_fails_with_its_reason_and_blocks_nobody(
    alice: User, collection: Collection, index: Index
) -> None:
    from kb.indexes import providers

    version = index.live_version
    good = add_document(alice, collection, ContentFile(b"good words", "good.txt")).document
    bad = add_document(alice, collection, ContentFile(b"poison words", "bad.txt")).document
    for document in (good, bad):
        parsing.parse(document.pk, load_here)
    embedder = Poisoned(providers.embedder(version.model))
    for _ in range(EmbeddingJob.MOST_ATTEMPTS):
        embedding.embed_batch(version, embedding_queue.lease(version), embedder)
        assert embedding_queue.lease(version) == [], "a failed attempt is followed by a pause"
        over = timezone.now() - timedelta(hours=1)
        EmbeddingJob.objects.filter(lease_until__isnull=False).update(lease_until=over)
    good.refresh_from_db()
    bad.refresh_from_db()
    assert good.state == Document.State.READY
    assert (bad.state, bad.error_code) == (Document.State.FAILED, "embedding")
    assert "no vector for this" in bad.error
    retry_document(alice, bad)
    work_off()
    bad.refresh_from_db()
    assert bad.state == Document.State.READY


def test_a_worker_that_is_to_stop_takes_no_further_batch(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = add_document(alice, collection, ContentFile(THREE.encode(), "fruit.txt")).document
    parsing.parse(document.pk, load_here)
    monkeypatch.setattr(state, "should_stop", 0)  # the exit status of a good end
    assert stopping()
    assert embedding.embed_for(index.live_version, 60, stopping)
    assert vectors(index) == {}
    monkeypatch.setattr(state, "should_stop", None)
    assert not embedding.embed_for(index.live_version, 60, stopping)
    assert vectors(index)


def test_a_chunk_whose_worker_died_at_each_attempt_fails_its_document(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    parsing.parse(document.pk, load_here)
    for _ in range(EmbeddingJob.MOST_ATTEMPTS):
        assert embedding_queue.lease(index.live_version)
        settling.give_up_abandoned()
        document.refresh_from_db()
        assert document.state == Document.State.EMBEDDING, "the last lease still runs"
        EmbeddingJob.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    assert not embedding_queue.has_work(index.live_version)
    sweep_embeddings_task()
    document.refresh_from_db()
    assert (document.state, document.error_code) == (Document.State.FAILED, "embedding")
    retry_document(alice, document)
    work_off()
    document.refresh_from_db()
    assert document.state == Document.State.READY


def test_a_job_whose_chunk_is_gone_is_removed(index: Index) -> None:
    EmbeddingJob.objects.create(version=index.live_version, chunk_id=12345, collection_id=1)
    assert embedding_queue.lease(index.live_version) == []
    assert not EmbeddingJob.objects.exists()


def test_a_file_that_was_replaced_can_be_put_in_again(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "a.txt", "first words")
    replace_document(alice, document, ContentFile(b"second words", "a.txt"))
    again = add_document(alice, collection, ContentFile(b"first words", "a.txt"))
    assert again.created
    assert again.document != document


def test_putting_the_present_file_in_again_undoes_a_replacement_at_work(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "a.txt", "first words")
    for content in (b"second words", b"first words"):
        assert add_or_replace_document(alice, collection, ContentFile(content, "a.txt")).created
    work_off()
    document.refresh_from_db()
    assert document.current.text.strip() == "first words"
    assert not add_or_replace_document(alice, collection, ContentFile(b"first words", "a.txt")).created


def test_reparsing_does_not_lose_a_replacement_at_work(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "a.txt", "first words")
    replace_document(alice, document, ContentFile(b"second words", "a.txt"))
    reparse_document(alice, document)
    work_off()
    document.refresh_from_db()
    assert document.current.text.strip() == "second words"


def test_a_missing_original_is_told_at_once(alice: User, collection: Collection, index: Index) -> None:
    document = add_document(alice, collection, ContentFile(b"words", "a.txt")).document
    default_storage.delete(document.incoming.file.name)
    parsing.parse(document.pk, load_here)
    document.refresh_from_db()
    assert (document.state, document.error_code) == (Document.State.FAILED, "original_missing")


def test_a_parse_may_take_as_long_as_its_claim_and_no_second_worker_gets_its_message(
    settings: object,
) -> None:
    for task, turn in ((parse_document_task, 0), (parse_documents_task, SECONDS_PER_TURN)):
        assert task.soft_time_limit == queueing.lease().total_seconds() + turn
    grace = parse_documents_task.time_limit - parse_documents_task.soft_time_limit + SECONDS_PER_TURN
    settings.PARSE_SECONDS = 1200  # the longest that is allowed
    longest = queueing.lease().total_seconds() + grace
    assert longest < settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]


def test_several_files_are_taken_in_together(alice: User, collection: Collection, index: Index) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    known = add_document(alice, collection, ContentFile(b"known", "known.txt")).document
    elsewhere = add_document(alice, other, ContentFile(b"elsewhere", "far.txt")).document
    files = {
        "new.txt": b"new",
        "same.txt": b"known",
        "twin.txt": b"new",
        "empty.txt": b"",
        "near.txt": b"elsewhere",
    }
    results = add_documents(
        alice, collection, [(ContentFile(body, name), None) for name, body in files.items()]
    )
    new, same, twin, empty, near = results
    assert [new.created, same.created, twin.created, near.created] == [True, False, False, True]
    assert (same.document, twin.document) == (known, new.document)
    assert isinstance(empty, Problem)
    assert empty.code == "empty"
    assert near.document.same_as == elsewhere
    assert set(collection.documents.values_list("filename", flat=True)) == {
        "known.txt",
        "new.txt",
        "near.txt",
    }
    assert AuditEntry.objects.filter(verb="add", detail__filename__in=files).count() == 2
    work_off()
    assert set(collection.documents.values_list("state", flat=True)) == {"ready"}
