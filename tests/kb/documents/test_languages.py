"""The language of a text decides its terms, and a collection knows which languages it holds."""

from importlib import import_module

import pytest
from django.core.files.base import ContentFile
from django.db import connection

from kb.core.models import Collection, User
from kb.documents import chunks
from kb.documents.actions import replace_document
from kb.documents.models import Chunk, CollectionLanguage
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import Index
from kb.search.narrowing import languages
from retrieval.protocols import Scope
from tests.conftest import ingest, work_off

pytestmark = pytest.mark.django_db(transaction=True)  # the arms read on connections of their own

GERMAN = (
    "Die Häuser in der alten Stadt wurden vor vielen Jahren von den Bürgern gebaut, und sie stehen noch heute dort, "
    "obwohl der Fluss mehrmals über die Ufer getreten ist."
)
ENGLISH = (
    "The houses of the old town were built by its citizens many years ago, and they are still standing there today, "
    "although the river has flooded them several times."
)


def held(collection: Collection, chunking_id: int, *terms: str) -> set[str]:
    found = PostgresLexical(chunking_id).postings(terms, Scope((collection.pk,)))
    deleted = set(found.deleted.tolist())
    return {entry.term for entry in found.terms if set(entry.ids.tolist()) - deleted}


def test_each_text_is_analysed_in_its_language(alice: User, collection: Collection, index: Index) -> None:
    german = ingest(alice, collection, "stadt.txt", GERMAN)
    ingest(alice, collection, "town.txt", ENGLISH)
    assert german.current
    assert german.current.language == "de"
    chunking_id = Chunk.objects.filter(document=german)[0].chunking_id
    assert held(collection, chunking_id, "haus", "hauser", "hous", "sie", "they") == {"haus", "hous"}
    assert list(languages([collection.pk])) == ["de", "en"]


def test_languages_of_other_collections_are_not_told(
    alice: User, charlie: User, collection: Collection, index: Index
) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=charlie)
    ingest(charlie, other, "stadt.txt", GERMAN)
    ingest(alice, collection, "note.txt", "short")
    assert list(languages([collection.pk])) == [""]
    assert list(languages([other.pk])) == ["de"]
    assert list(languages([])) == []


def test_a_language_is_noted_twice(collection: Collection) -> None:
    chunks.note_languages(collection.pk, {"de"})
    chunks.note_languages(collection.pk, {"de"})
    assert CollectionLanguage.objects.count() == 1


def test_chunks_of_another_language_are_not_kept(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "stadt.txt", GERMAN)
    before = set(document.chunks.values_list("pk", flat=True))
    document.revisions.update(language="en")
    replace_document(alice, document, ContentFile(GERMAN.encode() + b"\n", "stadt.txt"))
    work_off()
    assert document.chunks.exists()
    assert not before & set(document.chunks.values_list("pk", flat=True))
    assert held(collection, document.chunks.get().chunking_id, "haus", "hauser") == {"haus"}


def test_chunks_of_the_same_language_are_kept(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "note.txt", "Something short.")
    before = set(document.chunks.values_list("pk", flat=True))
    document.revisions.update(language="en")  # whose rules an unknown language has as well
    replace_document(alice, document, ContentFile(b"Something short.\n", "note.txt"))
    work_off()
    assert set(document.chunks.values_list("pk", flat=True)) == before


def test_the_migration_notes_the_languages_of_what_was_there(
    alice: User, collection: Collection, index: Index
) -> None:
    ingest(alice, collection, "stadt.txt", GERMAN)
    ingest(alice, collection, "note.txt", "short")
    CollectionLanguage.objects.all().delete()
    migration = import_module("kb.documents.migrations.0005_tags")
    for _ in range(2):  # may run twice
        with connection.cursor() as cursor:
            cursor.execute(migration.NOTE_LANGUAGES)
    assert list(languages([collection.pk])) == ["", "de"]
