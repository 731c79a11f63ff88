"""A misspelt word finds what was meant, among what its reader may see."""

import time

import numpy as np
import pytest
from django.db import connection
from numpy.typing import NDArray

from kb.core.models import Collection, User
from kb.documents.models import Chunk
from kb.indexes.lexical import PostgresLexical, append
from kb.indexes.models import Index
from kb.search.narrowing import languages
from kb.search.spelling import Correction, Corrections, corrected, doubtful
from retrieval.analysis import variants
from retrieval.protocols import Scope
from retrieval.querying import parse
from retrieval.variants import merged, terms_of
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "Retrieval finds passages. Retrieval of vectors needs an index. Photosynthesis needs light; café."


def asked(question: str, *collections: Collection) -> Corrections:
    chunkings = Chunk.objects.values_list("chunking", flat=True).distinct().order_by()
    scope = [each.pk for each in collections]
    return corrected(parse(question), scope, list(chunkings), languages(scope))


def in_doubt(question: str, collection: Collection) -> bool:
    """Whether a search by words leaves it open that one of them is misspelt."""
    parsed, scope = parse(question), Scope((collection.pk,))
    spoken = languages([collection.pk])
    words = variants(parsed.words, spoken)
    chunking = Chunk.objects.values_list("chunking", flat=True)[0]
    found, _ = merged(PostgresLexical(chunking).postings(terms_of(words), scope), words)
    return doubtful(parsed, spoken, found.alive())


def test_nearest_words(alice: User, collection: Collection, index: Index) -> None:
    ingest(alice, collection, "a.txt", TEXT)
    ingest(alice, collection, "b.txt", "A vector, a vectra: vectors are many. Vector once more.")
    ingest(alice, collection, "c.txt", "Vectors of the same kind.")
    questions = {
        "retreival": "retrieval",
        "Retreival of vctors?": "Retrieval of vectors?",
        "phtosyntesis": "photosynthesis",
        "what is a vectar": "what is a vectors",
        "(indx)": "(index)",
        "caffe": "café",
        "passages of light": "passages of light",
        "lihgt lihgt": "light light",
        '"retreival" ligth': "retreival light",
        "ERR-4013 v2.1.0 retreival_like lihgt/x": "ERR-4013 v2.1.0 retreival_like lihgt/x",
        "retreival-like, lihgt's": "retrieval-like, light's",
        "l'indx des vctors": "l'index des vectors",
        "retreival-4013": "retreival-4013",
        "zzzzzzzz of xyz": "zzzzzzzz of xyz",
        "東京都の": "東京都の",
        "-retreival tag:ligth": "",
    }
    assert {question: asked(question, collection).parsed.words for question in questions} == questions
    changed = [question for question in questions if asked(question, collection).changed]
    assert len(changed) > 8
    assert all(in_doubt(question, collection) for question in changed)
    known = ("passages of light", "What is retrieval?", "(index) café", "vectors' needs", "東京都の", "")
    assert not any(in_doubt(question, collection) for question in known)
    assert asked("Retreival of lihgt", collection).changed == (
        Correction("Retreival", "Retrieval"),
        Correction("lihgt", "light"),
    )
    unchanged = parse("passages of light")
    assert asked("passages of light", collection) == Corrections(unchanged)
    many = "passagez lihgt indx vctors retreival finda"
    assert asked(many, collection) == Corrections(parse(many))


def test_nothing_is_suggested_from_elsewhere(
    alice: User, charlie: User, collection: Collection, index: Index
) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=charlie)
    ingest(alice, collection, "a.txt", "Nothing to see here.")
    ingest(charlie, other, "secret.txt", "Project Chrysanthemum is about light.")
    for question in ("chrysantemum", "lihgt"):
        assert asked(question, collection) == Corrections(parse(question))
        assert asked(question) == Corrections(parse(question))
        assert asked(question, other).changed
    # What a word is known from is the reader's own, too.
    ingest(alice, collection, "b.txt", "Chrysanthemums need lights.")
    assert asked("chrysantemum", collection).changed == (Correction("chrysantemum", "chrysanthemums"),)


def test_nothing_is_suggested_from_what_was_deleted(
    alice: User, collection: Collection, index: Index
) -> None:
    ingest(alice, collection, "a.txt", "Nothing to see here.")
    document = ingest(alice, collection, "b.txt", TEXT)
    assert asked("retreival", collection).changed
    document.delete()
    assert not asked("retreival", collection).changed


def test_a_word_that_was_deleted_is_no_longer_known(
    alice: User, collection: Collection, index: Index
) -> None:
    ingest(alice, collection, "a.txt", "The lantern shines on the harbour.")
    misspelt = ingest(alice, collection, "b.txt", "The lantren is out.")
    assert not asked("lantren", collection).changed
    assert not in_doubt("lantren", collection)
    misspelt.delete()
    assert in_doubt("lantren", collection)
    assert asked("lantren", collection).changed == (Correction("lantren", "lantern"),)


def test_a_word_in_more_chunks_than_were_deleted_is_known_without_a_look_at_which(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(alice, collection, "a.txt", "The lantern shines.")
    ingest(alice, collection, "b.txt", "A lantern, and a ladder.")
    ingest(alice, collection, "c.txt", "Gone.").delete()
    looked: list[int] = []
    isin = np.isin

    def noted(ids: NDArray[np.int32], gone: NDArray[np.int32]) -> NDArray[np.bool_]:
        looked.append(len(ids))
        return isin(ids, gone)

    monkeypatch.setattr(np, "isin", noted)
    assert not asked("lantern", collection).changed
    assert not looked
    assert not asked("ladder", collection).changed
    assert looked == [1]


def test_words_of_every_language_are_corrected(alice: User, collection: Collection, index: Index) -> None:
    german = "Die Häuser der alten Stadt wurden von den Bürgern gebaut, und sie stehen noch heute am Fluss."
    ingest(alice, collection, "a.txt", german)
    ingest(
        alice, collection, "b.txt", "The houses of the old town were built by its citizens and still stand."
    )
    assert asked("Bürgren cittizens", collection).parsed.words == "Bürgern citizens"
    assert in_doubt("Bürgren", collection)
    assert in_doubt("cittizens", collection)
    assert not in_doubt("Bürgern citizens", collection)


def test_a_term_in_thousands_of_segments_hides_no_other(
    alice: User, collection: Collection, index: Index
) -> None:
    chunk = ingest(alice, collection, "a.txt", TEXT).chunks.get()
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH made AS (INSERT INTO indexes_segment (chunking_id, collection_id, count, total_length, analyser, "
            "live, created_at) SELECT %s, %s, 0, 0, '', true, now() FROM generate_series(1, 2500) RETURNING id) "
            "INSERT INTO indexes_postingblock (segment_id, term, postings) "
            "SELECT id, term, '' FROM made, unnest('{photosensit,photospher}'::text[]) term",
            [chunk.chunking_id, collection.pk],
        )
        cursor.execute("ANALYZE indexes_segment, indexes_postingblock")
    began = time.perf_counter()
    assert asked("phtosyntesis", collection).changed == (Correction("phtosyntesis", "photosynthesis"),)
    assert time.perf_counter() - began < 0.5  # measured: 30 ms


def test_it_takes_little_time_in_a_large_vocabulary(
    alice: User, collection: Collection, index: Index
) -> None:
    chunk = ingest(alice, collection, "a.txt", TEXT).chunks.get()
    syllables = [first + vowel for first in "bcdfglmnprst" for vowel in "aeiou"]
    words = (a + b + c for a in syllables for b in syllables for c in syllables)
    append(
        chunk.chunking_id,
        collection.pk,
        [(chunk.pk + 1, [f"{word}x" for word, _ in zip(words, range(50_000), strict=False)])],
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE indexes_postingblock")
    asked("retreival", collection)
    took = []
    for question in ("what is retreival", "the phtosyntesis of lihgt", "barabarax bodabudi"):
        tries = []
        for _ in range(3):
            began = time.perf_counter()
            asked(question, collection)
            tries.append(time.perf_counter() - began)
        took.append(min(tries))  # what else the machine does is not meant
    assert max(took) < 0.1  # measured: 4 to 15 ms
