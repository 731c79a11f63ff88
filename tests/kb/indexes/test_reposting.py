"""Another analyser: postings are rebuilt beside the searches, and change at once."""

from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from django.core.files.base import ContentFile

from kb.core import pools
from kb.core.models import Collection, User
from kb.documents import chunks, parsing
from kb.documents.actions import add_document, delete_document
from kb.documents.models import Chunk, Chunking, CollectionLanguage, Document
from kb.indexes import block_cache, lexical, merging, reposting, tasks
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import Index, PostingBlock, Segment, Tombstone
from retrieval import bm25
from retrieval.protocols import Postings, Scope
from tests.conftest import load_here

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chunking(index: Index) -> Chunking:
    assert index.live_version is not None
    return index.live_version.chunking


@pytest.fixture(autouse=True)
def by_letters(monkeypatch: pytest.MonkeyPatch, chunking: Chunking) -> Iterator[None]:
    """What is put in is cut into pieces of three letters, by an analyser that is called another."""
    block_cache.clear()
    monkeypatch.setattr(
        chunks, "analyse", lambda text, language="": [text[i : i + 3] for i in range(0, len(text), 3)]
    )
    monkeypatch.setattr(lexical, "analyser_hash", lambda: "another")
    yield
    block_cache.clear()


def put(user: User, collection: Collection, name: str, text: str) -> Document:
    document = add_document(user, collection, ContentFile(text.encode(), name)).document
    parsing.parse(document.pk, load_here)
    return document


@pytest.fixture
def documents(
    alice: User, collection: Collection, chunking: Chunking, monkeypatch: pytest.MonkeyPatch
) -> list[Document]:
    """Three of the other analyser; what comes now is today's."""
    texts = ["Quinces are boiled.", "Medlars are left to blet. Medlars!", "Sloes make gin."]
    made = [put(alice, collection, f"fruit-{number}.txt", text) for number, text in enumerate(texts)]
    monkeypatch.undo()
    return made


def read(chunking: Chunking, collection: Collection, *terms: str) -> Postings:
    return PostgresLexical(chunking.pk).postings(terms, Scope((collection.pk,)))


def holding(postings: Postings) -> dict[str, list[int]]:
    return {
        term.term: np.setdiff1d(term.ids, postings.deleted).tolist()
        for term in postings.terms
        if len(term.ids)
    }


def chunk_of(document: Document) -> int:
    return document.chunks.get().pk


def assert_exact(chunking: Chunking, collection: Collection) -> None:
    """Statistics and lengths are those of today's analyser, of the chunks that are there."""
    living = Chunk.objects.filter(chunking=chunking, collection=collection)
    wanted = {
        chunk.pk: len(chunks.analyse(chunks.render(chunk.document.title, chunk.heading_path, chunk.text)))
        for chunk in living
    }
    assert dict(living.values_list("pk", "length")) == wanted
    found = read(chunking, collection)
    assert (found.count, found.total_length) == (len(wanted), sum(wanted.values()))
    assert not reposting.waiting()


def test_postings_are_rebuilt_and_lengths_with_them(
    collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    assert holding(read(chunking, collection, "medlar")) == {}
    assert reposting.waiting() == [(chunking.pk, collection.pk)]
    reposting.repost(chunking.pk, collection.pk)
    assert holding(read(chunking, collection, "medlar", "gin")) == {
        "medlar": [chunk_of(documents[1])], "gin": [chunk_of(documents[2])],
    }  # fmt: skip
    assert_exact(chunking, collection)
    assert set(Segment.objects.values_list("analyser", "live")) == {(lexical.analyser_hash(), True)}
    assert not PostingBlock.objects.exclude(segment__in=Segment.objects.all()).exists()


def test_until_all_is_there_the_old_ones_are_searched(
    collection: Collection, chunking: Chunking, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is interrupted goes on where he was."""
    monkeypatch.setattr(reposting, "CHUNKS_AT_ONCE", 1)
    before = read(chunking, collection, "blet", "fruit")
    for written in (1, 2, 3):
        assert reposting.step(chunking.pk, collection.pk)
        assert Segment.objects.filter(live=False).count() == written
        now = read(chunking, collection, "blet", "fruit")
        assert holding(now) == holding(before)
        assert (now.count, now.total_length) == (before.count, before.total_length)
    assert not reposting.step(chunking.pk, collection.pk)
    assert holding(read(chunking, collection, "blet")) == {"blet": [chunk_of(documents[1])]}
    assert_exact(chunking, collection)


@pytest.mark.parametrize("when", [0, 1, 2, 3, 4])
def test_what_is_deleted_and_added_meanwhile_is_right_afterwards(
    alice: User,
    collection: Collection,
    chunking: Chunking,
    documents: list[Document],
    monkeypatch: pytest.MonkeyPatch,
    when: int,
) -> None:
    monkeypatch.setattr(reposting, "CHUNKS_AT_ONCE", 1)
    for number in range(5):
        if number == when:
            delete_document(alice, documents[1])
            put(alice, collection, "new.txt", "Medlars again.")
        reposting.step(chunking.pk, collection.pk)
    while reposting.step(chunking.pk, collection.pk):
        pass
    new = Chunk.objects.get(document__filename="new.txt").pk
    assert holding(read(chunking, collection, "medlar")) == {"medlar": [new]}
    assert_exact(chunking, collection)
    merging.merge_all()
    assert not Tombstone.objects.exists()
    assert_exact(chunking, collection)


def test_a_chunk_that_somebody_is_deleting_keeps_the_old_ones_for_now(
    alice: User, collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    assert reposting.step(chunking.pk, collection.pk)
    with psycopg.connect(**pools.parameters()) as other:
        other.execute("DELETE FROM documents_chunk WHERE id = %s", [chunk_of(documents[0])])
        assert not reposting.step(chunking.pk, collection.pk)
        assert Segment.objects.filter(live=True, analyser="another").count() == 3
        other.commit()
    reposting.repost(chunking.pk, collection.pk)
    assert_exact(chunking, collection)


def test_yet_another_analyser_begins_anew(
    collection: Collection, chunking: Chunking, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reposting.step(chunking.pk, collection.pk)
    Segment.objects.filter(live=False).update(analyser="that of yesterday")
    reposting.repost(chunking.pk, collection.pk)
    assert set(Segment.objects.values_list("analyser", "count")) == {(lexical.analyser_hash(), 3)}
    assert_exact(chunking, collection)


def test_the_chunking_takes_over_todays_analyser(
    collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    Chunking.objects.filter(pk=chunking.pk).update(analyser_hash="another")
    reposting.repost(chunking.pk, collection.pk)
    chunking.refresh_from_db()
    assert chunking.analyser_hash == lexical.analyser_hash()


def test_a_chunking_stays_what_it_is_where_another_one_is_the_same(
    collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    Chunking.objects.filter(pk=chunking.pk).update(analyser_hash="another")
    Chunking.objects.create(
        settings=chunking.settings,
        tokenizer_hash=chunking.tokenizer_hash,
        analyser_hash=lexical.analyser_hash(),
    )
    reposting.repost(chunking.pk, collection.pk)
    chunking.refresh_from_db()
    assert chunking.analyser_hash == "another"
    assert not reposting.waiting()


def test_the_languages_of_the_collection_are_known_afterwards(
    collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    CollectionLanguage.objects.all().delete()
    reposting.repost(chunking.pk, collection.pk)
    languages = set(CollectionLanguage.objects.values_list("language", flat=True))
    assert languages == {document.current.language for document in Document.objects.all() if document.current}


def test_two_do_not_do_the_same_at_once(
    collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    with psycopg.connect(**pools.parameters()) as other:
        other.execute(merging.LOCK, [f"segments:{chunking.pk}:{collection.pk}"])
        assert not reposting.step(chunking.pk, collection.pk)
        assert not Segment.objects.filter(live=False).exists()


def test_the_task_rebuilds_all_collections_and_may_run_twice(
    alice: User, collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    tasks.repost_segments_task()
    after = set(Segment.objects.values_list("pk", flat=True))
    tasks.repost_segments_task()
    assert set(Segment.objects.values_list("pk", flat=True)) == after
    assert_exact(chunking, collection)
    assert bm25.rank(read(chunking, collection, "medlar"), ["medlar"], 5).ids.tolist() == [
        chunk_of(documents[1])
    ]


def test_work_that_takes_longer_is_handed_on(
    collection: Collection, chunking: Chunking, documents: list[Document]
) -> None:
    assert reposting.repost_for(0)
    assert not reposting.repost_for(60)
    assert_exact(chunking, collection)
