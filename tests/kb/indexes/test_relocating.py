"""A collection is searched where it was until all of it is in its new index, and leaves nothing behind."""

from io import StringIO

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.documents import chunks, parsing
from kb.documents.actions import add_document
from kb.documents.models import Chunk, Document
from kb.indexes import auditing, index_commands, placing, rechunking, relocating, tasks
from kb.indexes.index_actions import create_index, move_collection
from kb.indexes.models import (
    CollectionLeaving,
    CollectionMove,
    EmbeddingJob,
    Index,
    IndexVersion,
    Segment,
)
from kb.indexes.version_actions import Wanted, build, promote
from kb.search.engine import search
from tests.conftest import ingest, load_here, work_off
from tests.kb.indexes.rows import table
from tests.kb.indexes.versions import another_space, beside, built, report

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "\n\n".join(
    f"Paragraph {word}. " + f"Words about {word}s. " * 60 for word in ("apple", "pear", "quince")
)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message is sent: the tests are the workers."""
    monkeypatch.setattr(tasks, "wake", lambda *_, **__: None)


@pytest.fixture
def document(alice: User, collection: Collection, version: IndexVersion) -> Document:
    return ingest(alice, collection, "fruit.txt", TEXT)


@pytest.fixture
def target(version: IndexVersion) -> IndexVersion:
    """What serves in another index: another model, and smaller chunks."""
    index = create_index(None, "other")
    # The first version of an index is built with a chunking of its own.
    made = built(build(None, index, Wanted(model=another_space(), chunk_tokens=60)))
    report(made)
    return promote(None, made)


def sweep() -> None:
    """Does what the sweep sends for."""
    for leaving in CollectionLeaving.objects.filter(begin_after__lte=timezone.now()):
        tasks.build_leaving_task(leaving.collection_id, leaving.index_id)


def arrived(collection: Collection) -> bool:
    """Does what the workers would do."""
    for _ in range(10):
        move = CollectionMove.objects.filter(collection=collection).first()
        if move is None:
            return True
        tasks.build_move_task(move.pk)
        for version in relocating.receiving(move.index):
            rechunking.cut_for(version, 60)
        work_off()
    return False


def test_from_one_index_to_another(
    alice: User, collection: Collection, document: Document, version: IndexVersion, target: IndexVersion
) -> None:
    move_collection(alice, collection, target.index)
    assert {row.chunking_id for row in search(alice, "quinces").sources.values()} == {version.chunking_id}
    assert arrived(collection)
    assert placing.index_of(collection.pk) == target.index_id
    found = search(alice, "quinces")
    assert {row.chunking_id for row in found.sources.values()} == {target.chunking_id}
    assert found.query.version == target
    assert AuditEntry.objects.filter(verb="move", actor=alice).exists()
    tasks.build_leaving_task(collection.pk, version.index_id)
    assert table(version) == {}
    assert set(table(target)) == set(Chunk.objects.values_list("pk", flat=True)) != set()
    assert not Segment.objects.filter(chunking=version.chunking).exists()
    assert not EmbeddingJob.objects.exists()
    assert auditing.audit() == []
    document.refresh_from_db()
    assert document.state == "ready"


def test_and_back_again(
    alice: User, collection: Collection, document: Document, index: Index, target: IndexVersion
) -> None:
    move_collection(None, collection, target.index)
    assert arrived(collection)
    tasks.build_leaving_task(collection.pk, index.pk)
    move_collection(None, collection, index)
    assert arrived(collection)
    tasks.build_leaving_task(collection.pk, target.index_id)
    assert search(alice, "quinces").passages
    assert table(target) == {}
    assert auditing.audit() == []


def test_what_comes_meanwhile_reaches_both(
    alice: User, collection: Collection, document: Document, version: IndexVersion, target: IndexVersion
) -> None:
    move_collection(None, collection, target.index)
    late = add_document(
        alice, collection, ContentFile(TEXT.replace("pear", "medlar").encode(), "late.txt")
    ).document
    parsing.parse(late.pk, load_here)
    work_off()
    late.refresh_from_db()
    assert late.state == "ready"
    assert {chunk.chunking_id for chunk in late.chunks.all()} == {version.chunking_id, target.chunking_id}
    assert auditing.audit() == []
    assert arrived(collection)
    assert search(alice, "medlars").passages[0].document_id == str(late.pk)


def test_a_move_that_is_taken_back_changes_nothing(
    alice: User, collection: Collection, document: Document, index: Index, target: IndexVersion
) -> None:
    move_collection(None, collection, target.index)
    assert move_collection(None, collection, index) is None
    assert not CollectionMove.objects.exists()
    assert AuditEntry.objects.filter(verb="give up a move").exists()
    assert placing.index_of(collection.pk) == index.pk
    sweep()
    assert not EmbeddingJob.objects.exists()
    assert not Chunk.objects.filter(chunking=target.chunking_id).exists()
    assert not Segment.objects.filter(chunking=target.chunking_id).exists()
    assert auditing.audit() == []


def test_a_move_that_is_aimed_elsewhere_leaves_nothing_behind(
    collection: Collection, document: Document, target: IndexVersion
) -> None:
    third = create_index(None, "third")
    made = built(build(None, third, Wanted(model=another_space(32), chunk_tokens=80)))
    report(made)
    promote(None, made)
    move_collection(None, collection, target.index)
    tasks.build_move_task(CollectionMove.objects.get().pk)
    rechunking.cut_for(target, 60)
    move_collection(None, collection, third)
    sweep()
    assert not Chunk.objects.filter(chunking=target.chunking_id).exists()
    assert arrived(collection)
    assert placing.index_of(collection.pk) == third.pk
    assert auditing.audit() == []


def test_what_is_left_is_not_forgotten_when_the_broker_is(
    collection: Collection, document: Document, version: IndexVersion, target: IndexVersion
) -> None:
    move_collection(None, collection, target.index)
    assert arrived(collection)
    sweep()
    assert table(version) != {}, "a search may still come there"
    assert auditing.audit() == []
    CollectionLeaving.objects.update(begin_after=timezone.now())
    sweep()
    assert table(version) == {}
    assert not CollectionLeaving.objects.exists()
    assert not Chunk.objects.filter(chunking=version.chunking_id).exists()
    assert auditing.audit() == []


def test_what_was_left_behind_is_found_and_goes(
    collection: Collection, document: Document, version: IndexVersion, target: IndexVersion
) -> None:
    move_collection(None, collection, target.index)
    assert arrived(collection)
    CollectionLeaving.objects.all().delete()
    assert {one.kind for one in auditing.audit()} == {"strays", "leftovers"}
    assert all(one.repaired for one in auditing.audit(repair=True))
    assert not Chunk.objects.filter(chunking=version.chunking_id).exists()
    assert not Segment.objects.filter(chunking=version.chunking_id).exists()
    assert auditing.audit() == []


def test_it_moves_back_while_it_is_left(
    alice: User, collection: Collection, document: Document, index: Index, target: IndexVersion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    put_in = [
        ingest(alice, collection, f"{word}.txt", TEXT.replace("pear", word)) for word in ("fig", "kiwi")
    ]
    whole = Chunk.objects.filter(chunking=index.live_version.chunking_id).count()
    move_collection(None, collection, target.index)
    assert arrived(collection)
    monkeypatch.setattr(relocating, "PORTION", 2)
    while Chunk.objects.filter(chunking=index.live_version.chunking_id).count() == whole:
        assert not relocating.leave(collection.pk, index.pk)
    move_collection(None, collection, index)
    assert relocating.leave(collection.pk, index.pk), "it came back"
    assert arrived(collection)
    assert Chunk.objects.filter(chunking=index.live_version.chunking_id).count() == whole
    assert len(put_in) == 2
    tasks.build_leaving_task(collection.pk, target.index_id)
    assert auditing.audit() == []


class TestObstacles:
    def test_a_chunk_that_cannot_be_embedded_there_is_said_and_tried_again(
        self, collection: Collection, document: Document, target: IndexVersion
    ) -> None:
        move_collection(None, collection, target.index)
        tasks.build_move_task(CollectionMove.objects.get().pk)
        rechunking.cut_for(target, 60)
        EmbeddingJob.objects.filter(pk=EmbeddingJob.objects.first().pk).update(attempts=5, error="too odd")
        assert not arrived(collection)
        assert CollectionMove.objects.get().error == "1 chunks could not be embedded: too odd"
        with pytest.raises(Problem, match="too odd"):
            index_commands.wait(CollectionMove.objects.get())
        move_collection(None, collection, target.index)
        assert CollectionMove.objects.get().error == ""
        assert arrived(collection)

    def test_what_cannot_be_embedded_where_it_is_keeps_nobody(
        self, collection: Collection, document: Document, version: IndexVersion, target: IndexVersion
    ) -> None:
        move_collection(None, collection, target.index)
        tasks.build_move_task(CollectionMove.objects.get().pk)
        rechunking.cut_for(target, 60)
        chunk = Chunk.objects.filter(chunking=version.chunking_id).first()
        EmbeddingJob.objects.create(version=version, chunk=chunk, collection=collection, attempts=5)
        EmbeddingJob.objects.filter(pk=EmbeddingJob.objects.filter(version=target).first().pk).update(
            attempts=5
        )
        assert arrived(collection)

    def test_paused_documents_are_said(
        self, alice: User, collection: Collection, document: Document, target: IndexVersion
    ) -> None:
        move_collection(None, collection, target.index)
        tasks.build_move_task(CollectionMove.objects.get().pk)
        rechunking.cut_for(target, 60)
        EmbeddingJob.objects.update(paused=True)
        assert not arrived(collection)
        assert "resume them" in CollectionMove.objects.get().error
        EmbeddingJob.objects.update(paused=False)
        assert arrived(collection)

    def test_a_version_that_serves_nobody_is_not_waited_for(
        self, collection: Collection, document: Document, target: IndexVersion
    ) -> None:
        warm = beside(target, "retired", model=another_space(48), dimensions=48)
        move_collection(None, collection, target.index)
        EmbeddingJob.objects.filter(version=warm).update(attempts=5)
        tasks.build_move_task(CollectionMove.objects.get().pk)
        rechunking.cut_for(target, 60)
        EmbeddingJob.objects.filter(version=warm).update(attempts=5)
        assert arrived(collection)

    def test_a_document_that_cannot_be_cut_is_said(
        self,
        collection: Collection,
        document: Document,
        target: IndexVersion,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        move_collection(None, collection, target.index)
        monkeypatch.setattr(chunks, "cut", lambda *_: [])
        assert not arrived(collection)
        assert CollectionMove.objects.get().error == f"1 documents could not be cut: {rechunking.NO_CHUNK}"


def test_what_came_back_is_not_deleted(collection: Collection, document: Document, index: Index) -> None:
    before = Chunk.objects.count()
    assert relocating.leave(collection.pk, index.pk)
    assert Chunk.objects.count() == before


def test_an_index_that_serves_nothing_takes_nobody(collection: Collection, index: Index) -> None:
    with pytest.raises(Problem) as refused:
        move_collection(None, collection, create_index(None, "empty"))
    assert refused.value.code == "no_live_version"
    with pytest.raises(Problem):
        create_index(None, "empty")


@pytest.mark.parametrize("slug", ["", "Not A Slug", "ä", "x" * 51])
def test_names_that_are_none_are_refused(db: None, slug: str) -> None:
    with pytest.raises(Problem) as refused:
        create_index(None, slug)
    assert refused.value.extra["field"] == "slug"


def test_from_the_command_line(
    collection: Collection, document: Document, target: IndexVersion, admin: User
) -> None:
    out = StringIO()
    call_command("index", "create", "third", "--name", "Third", stdout=out)
    call_command("index", "move", collection.slug, "--index", "other", stdout=out)
    assert "Papers is on its way into other." in out.getvalue()
    assert arrived(collection)
    call_command("index", "move", collection.slug, "--index", "other", "--wait", stdout=out)
    assert "Papers is in other." in out.getvalue()
    with pytest.raises(CommandError, match="no such collection"):
        call_command("index", "move", "nowhere", stdout=out)
