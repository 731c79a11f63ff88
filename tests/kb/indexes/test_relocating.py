"""A collection is searched where it was until all of it is in its new index, and leaves nothing behind."""

from io import StringIO

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.documents import parsing
from kb.documents.actions import add_document
from kb.documents.models import Chunk, Document
from kb.indexes import auditing, placing, rechunking, relocating, tasks
from kb.indexes.index_actions import create_index, move_collection
from kb.indexes.models import CollectionMove, EmbeddingJob, Index, IndexVersion, Segment
from kb.indexes.version_actions import Wanted, build, promote
from kb.search.engine import search
from tests.conftest import ingest, load_here, work_off
from tests.kb.indexes.rows import table
from tests.kb.indexes.versions import another_space, built, report

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
    assert placing.index_of(collection.pk) == index.pk
    tasks.build_leaving_task(collection.pk, target.index_id)
    assert auditing.audit() == []


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
