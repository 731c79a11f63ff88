"""Sizes are counted beside the searches, again after a while, and a table that is gone stops nothing."""

import threading
from collections.abc import Iterator

import pytest
from django.db import connection

from kb.core.models import Collection
from kb.indexes import population
from kb.indexes.models import IndexVersion
from tests.kb.indexes.rows import crowd

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def uncounted() -> Iterator[None]:
    population.forget()
    yield
    population.forget()


def test_vectors_are_counted_by_collection(
    version: IndexVersion, collection: Collection, other: Collection
) -> None:
    crowd(version, collection, 3, 1)
    crowd(version, other, 2, 1)
    found = population.population(version)
    assert found is not None
    assert found.total == 5
    assert found.within([collection.pk]) == 3
    assert found.within([other.pk, 10**9]) == 2


def test_a_count_serves_for_a_while(
    version: IndexVersion, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, again = population.counted, threading.Event()
    assert population.population(version).total == 0
    crowd(version, collection, 3, 1)
    assert population.population(version).total == 0

    def noticed(table: str) -> dict[int, int]:
        again.set()
        return counted(table)

    monkeypatch.setattr(population, "counted", noticed)
    for count in population._counts.values():
        count.due = 0.0
    population.population(version)  # starts the next count, and does not wait for it
    assert again.wait(10)
    population._threads.submit(lambda: None).result(10)
    assert population.population(version).total == 3


def test_one_count_at_a_time(version: IndexVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, counts = threading.Event(), []

    def slowly(table: str) -> dict[int, int]:
        counts.append(table)
        gate.wait(10)
        return {}

    monkeypatch.setattr(population, "counted", slowly)
    monkeypatch.setattr(population, "FIRST_SECONDS", 0.01)
    assert [population.population(version) for _ in range(3)] == [None] * 3
    gate.set()
    population._threads.submit(lambda: None).result(10)
    assert counts == [version.table]
    assert population.population(version) is not None


def test_a_table_that_is_gone_has_no_sizes(version: IndexVersion) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'DROP TABLE "{version.table}"')
    assert population.population(version) is None
    assert population.population(version) is None  # and is not counted again at once
