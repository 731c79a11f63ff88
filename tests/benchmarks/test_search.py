"""Lexical and dense search in Postgres beside the same in memory, and beside rank_bm25, in one run."""

from collections.abc import Callable

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from kb.core.models import Collection, User
from kb.documents.models import Chunking
from kb.indexes import embedding_table, lexical
from kb.indexes.dense import PostgresDense
from kb.indexes.embedding_table import Origin
from kb.indexes.lexical import PostgresLexical
from kb.indexes.models import Index, IndexVersion
from retrieval import bm25
from retrieval.memory import MemoryDense, MemoryLexical
from retrieval.protocols import Scope

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.benchmark(group="search")]

CHUNKS, TERMS, DIMENSIONS, SEGMENT = 10_000, 80, 384, 500


@pytest.fixture
def texts() -> list[list[str]]:
    """Zipf-distributed terms, seeded."""
    chance = np.random.default_rng(1)
    return [[f"t{term}" for term in row] for row in chance.zipf(1.2, (CHUNKS, TERMS)) % 50_000]


@pytest.fixture
def queries() -> list[list[str]]:
    chance = np.random.default_rng(2)
    return [[f"t{term}" for term in row] for row in chance.integers(2, 2000, (20, 6))]


@pytest.fixture
def collection(index: Index) -> Collection:
    return Collection.objects.create(name="Bench", slug="bench", owner=User.objects.create_user("bench"))


def each(queries: list[list[str]], search: Callable[[list[str]], object]) -> Callable[[], None]:
    def work() -> None:
        for query in queries:
            search(query)

    return work


@pytest.mark.parametrize("store", ["postgres", "memory", "rank_bm25"])
def test_lexical(
    store: str,
    benchmark: Callable[..., None],
    texts: list[list[str]],
    queries: list[list[str]],
    collection: Collection,
) -> None:
    if store == "rank_bm25":
        model = BM25Okapi(texts)
        benchmark(each(queries[:2], lambda query: np.argsort(-model.get_scores(query))[:100]))
        return
    if store == "memory":
        memory = MemoryLexical()
        for number, terms in enumerate(texts):
            memory.add(number, collection.pk, terms)
        postings = memory.postings
    else:
        chunking = Chunking.objects.create(settings={"bench": 1}, tokenizer_hash="", analyser_hash="")
        for first in range(0, CHUNKS, SEGMENT):
            part = enumerate(texts[first : first + SEGMENT], first)
            lexical.append(chunking.pk, collection.pk, part)
        postings = PostgresLexical(chunking.pk).postings
    benchmark(each(queries, lambda query: bm25.rank(postings(query, Scope((collection.pk,))), query, 100)))


@pytest.mark.parametrize("store", ["postgres", "memory"])
def test_dense(store: str, benchmark: Callable[..., None], index: Index, collection: Collection) -> None:
    chance = np.random.default_rng(3)
    centres = chance.normal(size=(100, DIMENSIONS))
    vectors = centres[chance.integers(0, 100, CHUNKS)] + 0.5 * chance.normal(size=(CHUNKS, DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    if store == "memory":
        memory = MemoryDense()
        for number, vector in enumerate(vectors):
            memory.add(number, collection.pk, vector)
        nearest = memory.nearest
    else:
        version = IndexVersion.objects.select_related("model").get(index=index)
        for first in range(0, CHUNKS, SEGMENT):
            rows = [(number, collection.pk, b"") for number in range(first, first + SEGMENT)]
            embedding_table.write(version, rows, vectors[first : first + SEGMENT], Origin("bench", "", ""))
        nearest = PostgresDense(version).nearest
    benchmark(lambda: [nearest(vector, Scope((collection.pk,)), 100) for vector in vectors[:20]])
