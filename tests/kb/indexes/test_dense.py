"""The nearest of 20,000 vectors under filters of every size: complete, precise, and planned as we mean it."""

from collections.abc import Iterator

import numpy as np
import pytest
from django.db import connection
from numpy.typing import NDArray
from psycopg import sql

from kb.core import pools
from kb.indexes import dense, embedding_table, planning, population
from kb.indexes.dense import PostgresDense
from kb.indexes.embedding_table import Origin
from kb.indexes.models import IndexVersion
from kb.indexes.planning import Graph, OneByOne, Plan
from kb.indexes.population import Population
from retrieval.protocols import Scope

COUNT, DIMENSIONS = 20_000, 128
# Collections have about 20 vectors each, of one topic: what people may see goes by topics, as vectors do.
SCOPES = {
    "all": range(1, 1001),
    "900 of 1,000": range(1, 901),
    "50 %": range(1, 501),
    "10 %": range(1, 101),
    "1 %": range(1, 11),
    "0.1 %": range(1, 2),
}
LEAST = {"all": 0.99}  # recall@10; under a filter 0.98


class Filled:
    """Vectors in clusters, each cluster in five collections; chunk ids count from 1."""

    def __init__(self) -> None:
        chance = np.random.default_rng(7)
        centres = chance.normal(size=(200, DIMENSIONS))
        clusters = chance.integers(0, 200, COUNT)
        vectors = centres[clusters] + 0.6 * chance.normal(size=(COUNT, DIMENSIONS))
        self.vectors = unit(vectors)
        self.collections = 5 * clusters + chance.integers(0, 5, COUNT) + 1
        self.queries = unit(
            vectors[chance.integers(0, COUNT, 30)] + 0.1 * chance.normal(size=(30, DIMENSIONS))
        )
        self.version = IndexVersion(
            pk=10**8,
            dimensions=DIMENSIONS,
            storage="halfvec",
            hnsw_m=16,
            hnsw_ef_construction=64,
            hnsw_ef_search=100,
        )
        self.dense = PostgresDense(self.version)

    def fill(self) -> None:
        """Copies first and builds the graph afterwards, which is faster. Nothing analyses the table."""
        table = self.version.table
        embedding_table.drop(self.version)
        embedding_table.create(self.version)
        rows = [(chunk + 1, int(collection), b"h") for chunk, collection in enumerate(self.collections)]
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            cursor.execute(f"SELECT pg_get_indexdef('{table}_hnsw'::regclass)")
            (hnsw,) = cursor.fetchone()
            cursor.execute(f"DROP INDEX {table}_hnsw")
            embedding_table.write(self.version, rows, self.vectors, Origin("test", "none", "float32"))
            cursor.execute(hnsw)

    def exact(self, query: NDArray[np.float32], scope: Scope, k: int) -> list[int]:
        """The chunks of the highest cosine, computed here."""
        mine = np.flatnonzero(np.isin(self.collections, scope.collections))
        if scope.chunks is not None:
            mine = np.intersect1d(mine, scope.chunks - 1)
        return (mine[np.argsort(-(self.vectors[mine] @ query), kind="stable")[:k]] + 1).tolist()

    def recall(self, scope: Scope, k: int = 10, queries: int = 30) -> float:
        """The mean over the queries; each must have as many rows as there can be."""
        shares = []
        for query in self.queries[:queries]:
            wanted, found = self.exact(query, scope, k), self.dense.nearest(query, scope, k).ids.tolist()
            assert len(found) == len(set(found)) == len(wanted)
            shares.append(len(set(wanted) & set(found)) / len(wanted))
        return float(np.mean(shares))

    def explained(self, plan: Plan, scope: Scope, analyse: bool = False) -> str:
        """PostgreSQL's plan, with or without statistics of the table, which are taken back."""
        with pools.asking("vectors", **dense.settings(plan)) as connected:
            if analyse:
                connected.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(self.version.table)))
            statement = sql.SQL("EXPLAIN {}").format(self.dense.statement(plan, scope, 10))
            rows = connected.execute(statement, dense.given(plan, self.queries[0], scope)).fetchall()
            connected.execute("ROLLBACK")
        return "\n".join(row[0] for row in rows)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def filled(django_db_setup: None, django_db_blocker) -> Iterator[Filled]:
    """One table for all tests of the module; none changes it."""
    made = Filled()
    with django_db_blocker.unblock():
        made.fill()
        yield made
        embedding_table.drop(made.version)
        connection.close()
    population.forget()


def scope_of(name: str) -> Scope:
    return Scope(tuple(SCOPES[name]))


@pytest.mark.parametrize("name", SCOPES)
def test_recall_under_every_filter(filled: Filled, name: str) -> None:
    assert filled.recall(scope_of(name)) >= LEAST.get(name, 0.98)


@pytest.mark.parametrize("name", ["all", "50 %", "0.1 %"])
def test_a_hundred_candidates_come_where_there_are_a_hundred(filled: Filled, name: str) -> None:
    assert filled.recall(scope_of(name), k=100) >= 0.95


@pytest.mark.parametrize("count", [1, 20, 200, 2_000, 10_000])
def test_recall_among_the_chunks_that_a_question_restricts_itself_to(filled: Filled, count: int) -> None:
    chunks = np.sort(np.random.default_rng(3).choice(COUNT, count, replace=False) + 1).astype(np.int64)
    assert filled.recall(Scope(tuple(range(1, 1001)), chunks)) >= 0.98


def test_a_restriction_within_some_collections_keeps_to_both(filled: Filled) -> None:
    chunks = np.arange(1, COUNT + 1, 2)
    scope = Scope(tuple(SCOPES["50 %"]), chunks)
    assert filled.recall(scope) >= 0.98
    found = filled.dense.nearest(filled.queries[0], scope, 50).ids
    assert set(found % 2) == {1}
    assert filled.collections[found - 1].max() <= 500


@pytest.mark.parametrize("analyse", [False, True])
@pytest.mark.parametrize(
    ("name", "expected", "index"),
    [
        ("all", Graph, "hnsw"),
        ("900 of 1,000", Graph, "hnsw"),
        ("50 %", Graph, "hnsw"),
        ("10 %", OneByOne, "collection"),
        ("1 %", OneByOne, "collection"),
        ("0.1 %", OneByOne, "collection"),
    ],
)
def test_postgres_takes_the_index_that_was_planned(
    filled: Filled, name: str, expected: type[Plan], index: str, analyse: bool
) -> None:
    plan = filled.dense.plan(scope_of(name), 10)
    assert isinstance(plan, expected)
    explained = filled.explained(plan, scope_of(name), analyse)
    assert f"{filled.version.table}_{index}" in explained
    assert "Seq Scan" not in explained


@pytest.mark.parametrize("analyse", [False, True])
def test_some_chunks_are_read_by_their_ids(filled: Filled, analyse: bool) -> None:
    scope = Scope(tuple(range(1, 901)), np.arange(1, 200, dtype=np.int64))
    plan = filled.dense.plan(scope, 10)
    assert plan == OneByOne()
    assert f"{filled.version.table}_pkey" in filled.explained(plan, scope, analyse)


def test_a_table_that_is_wanted_as_a_whole_may_be_read_as_a_whole(filled: Filled) -> None:
    assert "Seq Scan" in filled.explained(OneByOne(most=True), scope_of("all"), analyse=True)


def test_a_walk_that_finds_too_few_is_followed_by_comparing_all(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes of long ago: the collection seems to hold half of all vectors, and holds a thousandth."""
    monkeypatch.setattr(dense, "population", lambda version: Population({1: COUNT // 2, 2: COUNT // 2}))
    scope = scope_of("0.1 %")
    plan = filled.dense.plan(scope, 10)
    assert isinstance(plan, Graph)
    assert min(len(filled.dense.found(plan, query, scope, 10)) for query in filled.queries[:5]) < 10
    assert filled.recall(scope, queries=5) >= 0.98


def test_where_sizes_are_not_known_the_same_is_found(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "population", lambda version: None)
    assert isinstance(filled.dense.plan(scope_of("10 %"), 10), Graph)
    assert filled.recall(scope_of("10 %"), queries=10) >= 0.98


def test_the_same_question_gives_the_same_ranking_in_the_order_of_ids(filled: Filled) -> None:
    first, *others = (filled.dense.nearest(filled.queries[0], scope_of("50 %"), 50) for _ in range(4))
    assert all(np.array_equal(first.ids, other.ids) for other in others)
    order = np.lexsort((first.ids, -first.scores))
    np.testing.assert_array_equal(order, np.arange(50))


def test_few_are_picked_by_many_that_are_sorted() -> None:
    chance = np.random.default_rng(1)
    for size in (1, 7, 500):
        chunks = np.sort(chance.choice(1000, size, replace=False))
        ids = chance.permutation(1100)
        np.testing.assert_array_equal(dense.among(ids, chunks), np.isin(ids, chunks))


def test_the_walk_has_rows_to_spare_for_equal_scores() -> None:
    plan = planning.plan(COUNT, COUNT, None, 10, 100)
    assert isinstance(plan, Graph)
    assert plan.rows == 10 + planning.TIES
