"""Documents are cut anew beside the chunks that serve, each once, and searched by them once that is promoted."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone

from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents import chunks, parsing, queueing, writing
from kb.documents.actions import add_document, delete_document, replace_document
from kb.documents.models import Chunk, Document
from kb.indexes import auditing, building, dropping, embedding, portions, rechunking, tasks
from kb.indexes.building import Step
from kb.indexes.lexical import PostgresLexical
from kb.indexes.lifecycle import move
from kb.indexes.models import CuttingJob, EmbeddingJob, Index, IndexVersion, Segment, Tombstone
from kb.indexes.version_actions import Wanted, build, pause, promote, resume
from kb.quality import soundness
from kb.search.engine import search
from retrieval.protocols import Scope
from retrieval.spans import LoadedText
from tests.conftest import load_here, work_off
from tests.kb.indexes.rows import table
from tests.kb.indexes.versions import built, report

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "\n\n".join(
    f"Paragraph {word}. " + f"Words about {word}s. " * 60 for word in ("apple", "pear", "quince")
)


def put_in(actor: User, collection: Collection, text: str = TEXT, name: str = "fruit.txt") -> Document:
    document = add_document(actor, collection, ContentFile(text.encode(), name)).document
    work_off()
    return document


@pytest.fixture
def document(alice: User, collection: Collection, version: IndexVersion) -> Document:
    return put_in(alice, collection)


def smaller(index: Index) -> IndexVersion:
    return build(None, index, Wanted(chunk_tokens=60))


def sizes(version: IndexVersion) -> list[int]:
    return list(Chunk.objects.filter(chunking=version.chunking_id).values_list("tokens", flat=True))


@pytest.mark.usefixtures("document")
class TestRechunk:
    def test_both_are_there_and_the_old_one_serves(
        self, index: Index, version: IndexVersion, alice: User, collection: Collection
    ) -> None:
        before = table(version)
        made = built(smaller(index))
        assert made.state == "validating"
        assert made.derived_from is None
        assert max(sizes(made)) <= 60 < max(sizes(version))
        assert set(table(made)) == set(
            Chunk.objects.filter(chunking=made.chunking).values_list("pk", flat=True)
        )
        assert table(version) == before
        assert not CuttingJob.objects.exists()
        found = search(alice, "quinces")
        assert {row.chunking_id for row in found.sources.values()} == {version.chunking_id}

    def test_it_has_its_own_postings(
        self, index: Index, collection: Collection, version: IndexVersion
    ) -> None:
        made = built(smaller(index))
        scope = Scope((collection.pk,))
        old, new = (PostgresLexical(one.chunking_id).postings(["quinc"], scope) for one in (version, made))
        own = Chunk.objects.filter(chunking=made.chunking).values_list("pk", flat=True)
        assert set(new.terms[0].ids) <= set(own)
        assert len(new.terms[0].ids) > len(old.terms[0].ids) > 0

    def test_once_promoted_it_is_what_is_searched(
        self, index: Index, alice: User, document: Document
    ) -> None:
        made = built(smaller(index))
        report(made)
        promote(None, made)
        found = search(alice, "quinces")
        assert {row.chunking_id for row in found.sources.values()} == {made.chunking_id}
        assert auditing.audit() == []
        document.refresh_from_db()
        assert document.state == "ready"

    def test_offsets_lead_back_into_the_text(self, index: Index, document: Document) -> None:
        made = built(smaller(index))
        document.refresh_from_db()
        assert document.current is not None
        for chunk in Chunk.objects.filter(chunking=made.chunking):
            assert document.current.text[chunk.start : chunk.end] == chunk.text

    def test_it_goes_on_where_it_was_killed(self, index: Index, alice: User, collection: Collection) -> None:
        put_in(alice, collection, TEXT.replace("apple", "medlar"), "other.txt")
        made = smaller(index)
        assert building.advance(made.pk) is Step.CUT
        job = rechunking.claim(made.chunking_id)
        assert job is not None
        rechunking.cut(job)
        claimed = rechunking.claim(made.chunking_id)  # and its worker dies
        assert claimed is not None
        assert rechunking.claim(made.chunking_id) is None
        assert building.advance(made.pk) is Step.CUT
        CuttingJob.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert built(made).state == "validating"
        assert Chunk.objects.filter(chunking=made.chunking).values("document").distinct().count() == 2

    def test_cut_twice_changes_nothing(self, index: Index, document: Document) -> None:
        made = built(smaller(index))
        before = table(made)
        document.refresh_from_db()
        assert rechunking.rewritten(document, made.chunking) == len(before)
        assert not EmbeddingJob.objects.exists()
        assert table(made) == before


class TestMeanwhile:
    def test_added_replaced_and_deleted(
        self, index: Index, alice: User, collection: Collection, document: Document
    ) -> None:
        gone = put_in(alice, collection, TEXT.replace("apple", "medlar"), "gone.txt")
        made = smaller(index)
        building.advance(made.pk)
        new = add_document(
            alice, collection, ContentFile(TEXT.replace("pear", "plum").encode(), "new.txt")
        ).document
        parsing.parse(new.pk, load_here)
        replace_document(alice, document, ContentFile(TEXT.replace("quince", "sloe").encode(), "fruit.txt"))
        parsing.parse(document.pk, load_here)
        delete_document(alice, gone)
        assert built(made).state == "validating"
        texts = " ".join(Chunk.objects.filter(chunking=made.chunking).values_list("text", flat=True))
        assert "plum" in texts
        assert "sloe" in texts
        assert "medlar" not in texts
        report(made)
        promote(None, made)
        work_off()
        assert auditing.audit() == []

    def test_a_text_that_is_replaced_while_it_is_cut_is_cut_again(
        self, index: Index, alice: User, document: Document, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = smaller(index)
        building.advance(made.pk)
        cut, replaced = chunks.cut, []

        def slow(*arguments: object) -> object:
            pieces = cut(*arguments)  # type: ignore[arg-type]
            if not replaced:
                replaced.append(True)
                text = TEXT.replace("quince", "sloe")
                replace_document(alice, document, ContentFile(text.encode(), "fruit.txt"))
                parsing.parse(document.pk, load_here)
            return pieces

        monkeypatch.setattr(chunks, "cut", slow)
        assert built(made).state == "validating"
        texts = " ".join(Chunk.objects.filter(chunking=made.chunking).values_list("text", flat=True))
        assert "sloe" in texts
        assert "quince" not in texts

    def test_what_was_replaced_during_a_pause_is_cut_again(
        self, index: Index, alice: User, document: Document
    ) -> None:
        made = smaller(index)
        building.advance(made.pk)
        rechunking.cut_for(made, 60)
        pause(None, made)
        replace_document(alice, document, ContentFile(TEXT.replace("quince", "sloe").encode(), "fruit.txt"))
        parsing.parse(document.pk, load_here)
        resume(None, made)
        assert built(made).state == "validating"
        texts = " ".join(Chunk.objects.filter(chunking=made.chunking).values_list("text", flat=True))
        assert "sloe" in texts
        assert "quince" not in texts

    def test_a_document_that_cannot_be_cut_fails_the_build(
        self, index: Index, document: Document, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = smaller(index)

        def refuse(*_: object) -> None:
            raise RuntimeError("no way to cut this")

        with monkeypatch.context() as patched:
            patched.setattr(chunks, "cut", refuse)
            built(made)
        made.refresh_from_db()
        assert (made.state, made.error) == ("failed", "1 documents could not be cut: no way to cut this")
        resume(None, made)
        assert built(made).state == "validating"

    def test_a_document_that_would_have_no_chunks_fails_the_build(
        self, index: Index, document: Document, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chunks, "cut", lambda *_: [])
        made = built(smaller(index))
        assert made.state == "failed"
        assert made.error.endswith(rechunking.NO_CHUNK)

    def test_a_worker_that_ends_at_the_last_attempt_is_waited_for_and_then_fails_the_build(
        self, index: Index, document: Document
    ) -> None:
        made = smaller(index)
        building.advance(made.pk)
        for _ in range(CuttingJob.MOST_ATTEMPTS):
            assert rechunking.claim(made.chunking_id) is not None
            assert building.advance(made.pk) is Step.CUT
            CuttingJob.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert building.advance(made.pk) is Step.OVER
        made.refresh_from_db()
        assert made.error.endswith(rechunking.ABANDONED)

    def test_what_was_cut_by_another_chunking_than_is_wanted_by_now_is_cut_again(
        self, index: Index, alice: User, collection: Collection
    ) -> None:
        """A version came while the document was read."""
        late = add_document(alice, collection, ContentFile(TEXT.encode(), "late.txt")).document
        made: list[IndexVersion] = []

        def load(path: Path, name: str) -> LoadedText:
            made.append(smaller(index))
            return load_here(path, name)

        wanted, claimed = writing.wanted_chunkings(collection), queueing.claim(late.pk)
        batch = parsing.Batch(load, [claimed])
        batch.wanted = lambda _: wanted
        parsing.write([parsing.parsed(claimed, claimed.incoming, batch)])
        late.refresh_from_db()
        assert late.state == "embedding"
        both = {index.live_version.chunking_id, made[0].chunking_id}
        assert set(late.chunks.values_list("chunking", flat=True)) == both


class TestUncut:
    @pytest.fixture
    def made(self, index: Index, document: Document) -> IndexVersion:
        return built(smaller(index))

    @pytest.mark.parametrize("lost", [{}, {"ordinal": 1}])
    def test_a_document_without_all_its_chunks_is_found_and_cut_anew(
        self, made: IndexVersion, document: Document, lost: dict[str, int]
    ) -> None:
        whole = list(document.chunks.filter(chunking=made.chunking).values_list("text", flat=True))
        document.chunks.filter(chunking=made.chunking, **lost).delete()
        assert [(one.kind, one.count) for one in auditing.audit()] == [("uncut", 1)]
        assert [row.uncut for row in soundness.rows(made)] == [1]
        assert [one.repaired for one in auditing.audit(repair=True)] == [True]
        rechunking.cut_for(made, 60)
        work_off()
        assert auditing.audit() == []
        assert list(document.chunks.filter(chunking=made.chunking).values_list("text", flat=True)) == whole

    def test_what_nobody_can_find_is_found_by_the_repair(
        self, version: IndexVersion, document: Document, alice: User
    ) -> None:
        document.chunks.all().delete()
        assert [(one.kind, one.count) for one in auditing.audit()] == [("uncut", 1)]
        tasks.repair_queue_task()
        rechunking.cut_for(version, 60)
        work_off()
        assert search(alice, "quinces").passages

    def test_a_cancelled_document_may_have_gaps(
        self, version: IndexVersion, document: Document, made: IndexVersion
    ) -> None:
        Document.objects.update(state="cancelled")
        document.chunks.filter(chunking=version.chunking, ordinal=0).delete()
        assert auditing.audit() == []


@pytest.mark.usefixtures("document")
class TestEnd:
    def test_old_chunks_and_postings_go_with_the_last_version(
        self, index: Index, version: IndexVersion, alice: User
    ) -> None:
        made = built(smaller(index))
        report(made)
        promote(None, made)
        assert dropping.forget_chunkings() == 0, "the retired one can still be gone back to"
        move(version.pk, "dropped", None, "")
        dropping.drop_tables(timedelta(0))
        while dropping.forget_chunkings(most=2):
            pass
        assert not Chunk.objects.filter(chunking=version.chunking).exists()
        assert not Segment.objects.filter(chunking=version.chunking).exists()
        assert not Tombstone.objects.filter(chunking_id=version.chunking_id).exists()
        assert len(table(made)) == Chunk.objects.count() > 0
        assert search(alice, "quinces").passages

    def test_what_is_built_again_while_it_is_forgotten_lacks_nothing(
        self, index: Index, version: IndexVersion, alice: User, collection: Collection
    ) -> None:
        put_in(alice, collection, TEXT.replace("apple", "medlar"), "other.txt")
        made = built(smaller(index))
        whole = sorted(sizes(made))
        move(made.pk, "cancelled", None, "")
        dropping.end_due()
        dropping.drop_tables(timedelta(0))
        assert dropping.forget_chunkings(most=1) > 1, "a document goes as a whole"
        again = smaller(index)
        assert again.chunking_id == made.chunking_id
        assert dropping.forget_chunkings() == 0, "it is wanted again"
        assert built(again).state == "validating"
        assert sorted(sizes(again)) == whole
        assert auditing.audit() == []

    def test_nobody_begins_to_build_with_it_while_a_portion_goes(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = built(smaller(index))
        move(made.pk, "cancelled", None, "")
        dropping.end_due()
        dropping.drop_tables(timedelta(0))
        delete, begun = portions.delete, []

        def beginning() -> None:
            begun.append(smaller(index))
            connection.close()

        builder = threading.Thread(target=beginning)

        def slow(*given: object) -> int:
            builder.start()
            builder.join(0.3)
            assert not begun
            return delete(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(portions, "delete", slow)
        assert dropping.forget_chunkings() > 0
        builder.join()
        assert dropping.forget_chunkings() == 0
        assert built(begun[0]).state == "validating"
        assert auditing.audit() == []

    def test_a_cancelled_one_leaves_no_chunks(self, index: Index, version: IndexVersion) -> None:
        before = Chunk.objects.count()
        made = smaller(index)
        building.advance(made.pk)
        rechunking.cut_for(made, 60)
        embedding.embed_for(made, 60)
        move(made.pk, "cancelled", None, "")
        dropping.end_due()
        dropping.drop_tables(timedelta(0))
        while dropping.forget_chunkings():
            pass
        assert Chunk.objects.count() == before
        assert not CuttingJob.objects.exists()
        assert auditing.audit() == []


@pytest.mark.parametrize("tokens", [4, 0, -1])
def test_sizes_that_no_chunk_can_have_are_refused(index: Index, tokens: int) -> None:
    with pytest.raises(Problem) as refused:
        build(None, index, Wanted(chunk_tokens=tokens))
    assert refused.value.extra["field"] == "chunk_tokens"


def test_no_lock_is_left_behind(index: Index) -> None:
    built(smaller(index))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND datname = current_database()"  # other tests run beside
        )
        assert cursor.fetchone() == (0,)
