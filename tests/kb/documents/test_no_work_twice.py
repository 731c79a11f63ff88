"""An identical file is recognised, linked or read for nothing, and nobody learns of what they cannot see."""

from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from kb.core.models import Collection, User
from kb.documents import parsing
from kb.documents.actions import add_document, cancel, reparse_document, replace_document
from kb.documents.models import Document, DocumentRevision, DocumentStage
from kb.indexes.models import Index
from retrieval.spans import LoadedText
from tests.conftest import ingest, load_here

pytestmark = pytest.mark.django_db

TEXT = "# Bees\n\nThe waggle dance tells the direction."


class CountingLoader:
    """Loads, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: Path, filename: str) -> LoadedText:
        self.count += 1
        return load_here(path, filename)


@pytest.fixture
def loader() -> CountingLoader:
    return CountingLoader()


@pytest.fixture
def charlies(charlie: User) -> Collection:
    """Seen by Charlie alone."""
    return Collection.objects.create(name="Private", slug="private", owner=charlie)


def add(actor: User, collection: Collection, name: str = "bees.md", text: str = TEXT) -> Document:
    return add_document(actor, collection, ContentFile(text.encode(), name)).document


def parsed(document: Document, load: CountingLoader) -> Document:
    parsing.parse(document.pk, load)
    document.refresh_from_db()
    return document


def test_in_the_same_collection_it_is_that_document_whatever_its_name(
    alice: User, collection: Collection, index: Index
) -> None:
    first = ingest(alice, collection, "bees.md", TEXT)
    again = add_document(alice, collection, ContentFile(TEXT.encode(), "insects.md"))
    assert (again.created, again.document) == (False, first)
    assert Document.objects.count() == 1


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_had_failed_or_was_cancelled_is_taken_up_again(
    alice: User, collection: Collection, index: Index, state: str
) -> None:
    first = add(alice, collection)
    Document.objects.update(state=state, error="why", error_code="broken")
    again = add_document(alice, collection, ContentFile(TEXT.encode(), "bees.md"))
    assert (again.created, again.document) == (False, first)
    assert (again.document.state, again.document.error) == ("queued", "")


def test_in_another_collection_that_is_seen_it_is_linked(
    alice: User, collection: Collection, index: Index
) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    first = ingest(alice, collection, "bees.md", TEXT)
    again = add_document(alice, other, ContentFile(TEXT.encode(), "insects.md"))
    assert again.created
    assert (again.document.same_as, again.document.collection) == (first, other)


def test_invariant_4_what_cannot_be_seen_is_not_linked(
    alice: User, collection: Collection, charlie: User, charlies: Collection, index: Index
) -> None:
    ingest(charlie, charlies, "bees.md", TEXT)
    document = add(alice, collection)
    assert document.same_as is None


def test_a_text_is_read_once_wherever_the_file_is(
    alice: User,
    collection: Collection,
    charlie: User,
    charlies: Collection,
    index: Index,
    loader: CountingLoader,
) -> None:
    first = parsed(add(charlie, charlies), loader)
    second = parsed(add(alice, collection, "insects.md"), loader)
    assert loader.count == 1
    assert second.state == "embedding"
    for name in parsing.READ:
        assert getattr(second.current, name) == getattr(first.current, name)
    assert list(
        DocumentStage.objects.filter(stage="parse").order_by("pk").values_list("reused", flat=True)
    ) == [0, 1]
    assert list(second.chunks.values_list("text", flat=True)) == list(
        first.chunks.values_list("text", flat=True)
    )


def test_another_type_or_parser_reads_for_itself(
    alice: User,
    collection: Collection,
    charlie: User,
    charlies: Collection,
    index: Index,
    loader: CountingLoader,
) -> None:
    parsed(add(charlie, charlies), loader)
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    parsed(add(alice, other, "bees.txt"), loader)
    assert loader.count == 2
    DocumentRevision.objects.update(parser="an older one")
    parsed(add(alice, collection), loader)
    assert loader.count == 3


def test_who_asks_for_it_gets_a_document_read_once_more(
    alice: User,
    collection: Collection,
    charlie: User,
    charlies: Collection,
    index: Index,
    loader: CountingLoader,
) -> None:
    parsed(add(charlie, charlies), loader)
    document = parsed(add(alice, collection), loader)
    reparse_document(alice, document)
    parsed(document, loader)
    assert (loader.count, document.current.number) == (2, 2)


def test_a_retried_embedding_reads_nothing(
    alice: User, collection: Collection, index: Index, loader: CountingLoader
) -> None:
    document = parsed(add(alice, collection), loader)
    cancel(alice, document)
    add(alice, collection)
    parsed(document, loader)
    assert (loader.count, document.state) == (1, "embedding")


def test_recognising_a_file_costs_the_same_however_many_there_are(
    alice: User, collection: Collection, index: Index
) -> None:
    """The statement reads by the index of hashes: not the whole collection."""
    for number in range(300):
        add(alice, collection, f"{number}.txt", f"Text {number}.")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as queries:
        add(alice, collection, "again.txt", "Text 7.")
    (looked,) = [query["sql"] for query in queries if "sha256" in query["sql"] and "ORDER BY" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ANALYZE {looked}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "sha256" in plan.split("Index Cond")[1]
    assert "Seq Scan on documents_document" not in plan


def test_the_same_file_as_a_replacement_is_recognised_too(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "bees.md", TEXT)
    replace_document(alice, document, ContentFile(b"New words.", "bees.md"))
    assert add(alice, collection, "new.md", "New words.") == document
    assert add(alice, collection, "old.md", TEXT) != document
