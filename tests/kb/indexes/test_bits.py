"""A version that is searched by one bit of each number, and rescored, finds what the numbers would."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from kb.indexes import embedding_table, graph, population
from kb.indexes.dense import PostgresDense
from kb.indexes.planning import Graph, OneByOne, rescored
from tests.kb.indexes.test_dense import Filled, scope_of

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def filled(django_db_setup: None, django_db_blocker: Any) -> Iterator[Filled]:
    """One table for all tests of the module; none changes it."""
    made = Filled()
    made.version.pk, made.version.storage = 10**8 + 1, "bit"
    made.dense = PostgresDense(made.version)
    with django_db_blocker.unblock():
        made.fill()
        yield made
        embedding_table.drop(made.version)
        connection.close()
    population.forget()


@pytest.mark.parametrize(
    ("name", "k", "recall"), [("all", 10, 0.99), ("all", 100, 0.99), ("50 %", 100, 0.92), ("1 %", 10, 1.0)]
)
def test_what_is_near_is_found(filled: Filled, name: str, k: int, recall: float) -> None:
    assert filled.recall(scope_of(name), k) >= recall


def test_the_scores_are_cosines(filled: Filled) -> None:
    query = filled.queries[0]
    found = filled.dense.nearest(query, scope_of("all"), 10)
    assert found.scores == pytest.approx(filled.vectors[found.ids - 1] @ query, abs=2e-3)


def test_postgres_walks_the_graph_of_bits(filled: Filled) -> None:
    plan = filled.dense.plan(scope_of("all"), 10)
    assert isinstance(plan, Graph)
    explained = filled.explained(plan, scope_of("all"))
    assert graph.name(filled.version) in explained
    assert "Seq Scan" not in explained
    assert isinstance(filled.dense.plan(scope_of("1 %"), 10), OneByOne)


def test_the_graph_of_bits_is_smaller(filled: Filled) -> None:
    numbers = Filled().version
    numbers.pk = 10**8 + 2
    assert graph.memory_mb(filled.version, 10**5) < graph.memory_mb(numbers, 10**5)


@pytest.mark.parametrize(
    ("plan", "k", "rows"),
    [
        (Graph(200, 26, 20_000), 10, 400),
        (Graph(800, 52, 9_000), 10, 800),
        (Graph(240, 116, 9_000), 100, 2000),
    ],
)
def test_enough_are_rescored_and_not_too_many(plan: Graph, k: int, rows: int) -> None:
    assert rescored(plan, k) == rows
