"""A document is moved to another collection: its readers change at once, and nothing of it is lost or left behind."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.urls import reverse

from kb.core.models import AuditEntry, Collection, Membership, User
from kb.core.problems import Problem
from kb.documents.actions import add_document, delete_document
from kb.documents.models import Chunk, Document, Source, WebPage
from kb.documents.move_actions import move_document
from kb.indexes.auditing import audit
from kb.indexes.lifecycle import State
from kb.indexes.models import Index, Tombstone
from kb.search.answers import ask
from kb.search.engine import search
from kb.search.models import Citation
from tests.conftest import ingest, work_off
from tests.kb.indexes.versions import another_space, beside, built

pytestmark = pytest.mark.django_db(transaction=True)

BEES = "Bees make honey in the hive, and the queen lays the eggs."


@pytest.fixture
def target(alice: User) -> Collection:
    return Collection.objects.create(name="Archive", slug="archive", owner=alice)


@pytest.fixture
def bees(alice: User, collection: Collection, index: Index) -> Document:
    return ingest(alice, collection, "bees.txt", BEES)


def found(user: User, *collections: Collection) -> list[str]:
    results = search(user, "honey of bees", [each.slug for each in collections] or None)
    return [passage.document_id for passage in results.passages]


def test_it_is_gone_where_it_was_and_found_where_it_is(
    alice: User, bob: User, collection: Collection, target: Collection, bees: Document
) -> None:
    revision, key = bees.current_id, bees.pk
    assert found(bob) == [str(key)], "bob reads the one collection, and not the other"
    moved = move_document(alice, bees, target)
    assert (moved.collection, moved.state, moved.current_id) == (target, "queued", revision)
    assert found(bob) == found(alice) == []
    work_off()
    moved.refresh_from_db()
    assert (moved.state, moved.current_id) == ("ready", revision)
    assert moved.stages.get(stage="parse").reused == 1, "the text was there"
    assert found(alice) == found(alice, target) == [str(key)]
    assert found(bob) == found(alice, collection) == []
    assert set(Chunk.objects.values_list("collection", flat=True)) == {target.pk}
    assert set(Tombstone.objects.values_list("collection_id", flat=True)) == {collection.pk}
    (entry,) = AuditEntry.objects.filter(verb="move")
    assert (entry.actor, entry.detail) == (alice, {"from": collection.slug, "to": "archive", "documents": 1})
    assert audit() == []


def test_there_and_back_leaves_one_set_of_chunks(
    alice: User, collection: Collection, target: Collection, bees: Document
) -> None:
    before = Chunk.objects.count()
    for into in (target, collection, target, collection):
        move_document(alice, bees, into)
        work_off()
        bees.refresh_from_db()
    assert found(alice, collection) == [str(bees.pk)]
    assert found(alice, target) == []
    assert Chunk.objects.count() == before
    assert audit() == []


def test_a_version_that_is_being_built_gets_it_too(
    alice: User, target: Collection, bees: Document, index: Index
) -> None:
    building = beside(index.live_version, State.BUILDING, model=another_space(), dimensions=64)
    move_document(alice, bees, target)
    work_off()
    assert built(building).state == State.VALIDATING
    chunks = set(Chunk.objects.values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT chunk_id FROM {building.table}")
        assert {chunk for (chunk,) in cursor.fetchall()} == chunks
    assert audit() == []


def test_footnotes_follow_it(
    alice: User, bob: User, collection: Collection, target: Collection, bees: Document
) -> None:
    list(ask(bob, "Where do bees make honey?"))
    (citation,) = Citation.objects.all()
    move_document(alice, bees, target)
    citation.refresh_from_db()
    assert (citation.collection, citation.document, citation.quote != "") == (target, bees, True)


def test_an_archive_takes_what_it_held_along(
    alice: User, collection: Collection, target: Collection, bees: Document
) -> None:
    entry = ingest(alice, collection, "entry.txt", "Ants carry leaves.")
    Document.objects.filter(pk=entry.pk).update(archive=bees)
    entry.refresh_from_db()
    with pytest.raises(Problem, match="came out of an archive") as refused:
        move_document(alice, entry, target)
    assert refused.value.code == "in_archive"
    move_document(alice, bees, target)
    assert set(Document.objects.values_list("collection", flat=True)) == {target.pk}


def test_what_stays_says_why(
    alice: User, bob: User, charlie: User, collection: Collection, target: Collection, bees: Document
) -> None:
    def refusal(actor: User, into: Collection) -> str:
        with pytest.raises(Problem) as refused:
            move_document(actor, bees, into)
        bees.refresh_from_db()
        assert (bees.collection, bees.state) == (collection, "ready")
        return refused.value.code

    assert refusal(bob, target) == "read_only"
    assert refusal(charlie, target) == "not_found"
    foreign = Collection.objects.create(name="Foreign", slug="foreign", owner=charlie)
    assert refusal(alice, foreign) == "not_found"
    Membership.objects.create(collection=foreign, user=alice, role=Membership.Role.READER)
    foreign.visibility = Collection.Visibility.MEMBERS
    foreign.save()
    assert refusal(alice, foreign) == "read_only"
    twin = ingest(alice, target, "same.txt", BEES)
    assert refusal(alice, target) == "known"
    delete_document(alice, twin)
    source = Source.objects.create(collection=collection, url="https://example.org/", kind=Source.Kind.PAGE)
    page = WebPage.objects.create(source=source, url="https://example.org/", document=bees)
    assert refusal(alice, target) == "from_source"
    page.delete()
    assert move_document(alice, bees, collection) == bees
    assert bees.state == "ready", "where it is already nothing happens"


def test_one_that_waits_or_failed_is_taken_up_there(
    alice: User, collection: Collection, target: Collection, index: Index
) -> None:
    waiting = add_document(alice, collection, ContentFile(BEES.encode(), "bees.txt")).document
    failed = ingest(alice, collection, "broken.pdf", b"%PDF-1.7\nnothing of a PDF follows")
    assert failed.state == "failed"
    for document in (waiting, failed):
        move_document(alice, document, target)
    work_off()
    assert found(alice, target) == [str(waiting.pk)]
    failed.refresh_from_db()
    assert (failed.state, failed.collection) == ("failed", target)


def test_by_the_api(
    client: Client,
    alice: User,
    target: Collection,
    bees: Document,
    key: Callable[..., dict[str, str]],
    problem: Callable[..., Any],
) -> None:
    path, headers = f"/api/v1/documents/{bees.pk}", key(alice, "write")

    def patch(**body: object) -> Any:
        return client.patch(path, body, content_type="application/json", headers=headers)

    problem(patch(tags=["insects"], collection="nowhere"), 404, "not_found")
    problem(patch(tags=["a,b"], collection="archive"), 400, "invalid")
    there = Document.objects.get()
    assert (there.tags, there.collection.slug) == ([], "papers"), "both or neither"
    body = patch(tags=["insects"], collection="archive").json()
    assert (body["collection"], body["tags"], body["state"]) == ("archive", ["insects"], "queued")


@pytest.mark.parametrize("name", ["document-move", "admin:documents_document_move"])
def test_by_page_and_admin(
    as_user: Callable[..., Client], alice: User, admin: User, target: Collection, bees: Document, name: str
) -> None:
    client, path = as_user(admin if name.startswith("admin") else alice), reverse(name, args=[bees.pk])
    assert "Archive" in client.get(path).content.decode()
    refused = client.post(path, {"collection": "nowhere"})
    assert refused.status_code in {200, 400}
    assert Document.objects.get().collection != target
    into = target.pk if name.startswith("admin") else target.slug
    answer = client.post(path, {"collection": into}, follow=True)
    assert "is in Archive now" in answer.content.decode()
    assert Document.objects.get().collection == target
