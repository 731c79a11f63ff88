"""The HNSW index of a version is there, or is made without anybody waiting for it."""

import threading

import numpy as np
import psycopg
import pytest
from django.db import connection, transaction

from kb.core import pools
from kb.core.models import Collection
from kb.indexes import embedding_table, graph
from kb.indexes.embedding_table import Origin
from kb.indexes.models import IndexVersion
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked, table
from tests.kb.indexes.versions import beside

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def loaded(version: IndexVersion) -> IndexVersion:
    """Vectors without an index."""
    made = beside(version, "building")
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {graph.name(made)}")
    vectors = np.random.default_rng(0).normal(size=(500, made.dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [(chunk, 1, bytes(32)) for chunk in range(500)]
    embedding_table.write(made, rows, vectors, Origin("", "", "float32"))
    return made


def test_it_is_made_once(loaded: IndexVersion) -> None:
    assert graph.valid(loaded) is None
    graph.ensure(loaded, 500)
    assert graph.valid(loaded) is True
    before = oid(loaded)
    graph.ensure(loaded, 500)
    assert oid(loaded) == before


def test_what_was_cut_short_is_replaced(loaded: IndexVersion) -> None:
    graph.ensure(loaded, 500)
    before = oid(loaded)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", [graph.name(loaded)]
        )
    assert graph.valid(loaded) is False
    graph.ensure(loaded, 500)
    assert graph.valid(loaded) is True
    assert oid(loaded) != before


def test_a_build_that_waits_is_seen_and_stopped(loaded: IndexVersion) -> None:
    """A writer that has not committed keeps a concurrent build waiting; cancelling leaves an invalid index."""
    errors: list[Exception] = []

    def ensure() -> None:
        try:
            graph.ensure(loaded, 500)
        except psycopg.Error as error:
            errors.append(error)
        finally:
            connection.close()

    with psycopg.connect(**pools.parameters()) as writer:
        writer.execute(f"DELETE FROM {loaded.table} WHERE chunk_id = 1")
        building = threading.Thread(target=ensure)
        building.start()
        while graph.progress(loaded) is None:
            assert building.is_alive()
        while building.is_alive():
            graph.stop(loaded)
            building.join(0.05)
        writer.rollback()
    assert isinstance(errors[0], psycopg.errors.QueryCanceled)
    assert not graph.valid(loaded)
    assert graph.progress(loaded) is None
    graph.ensure(loaded, 500)
    assert graph.valid(loaded) is True


def test_searching_and_writing_go_on_beside_it(
    loaded: IndexVersion, version: IndexVersion, collection: Collection
) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '50ms'")
        chunked(version, collection, ["apple"])
    embed_all(version, Counting(version))
    graph.ensure(loaded, 500)
    assert len(table(version)) == 1


def test_memory_goes_by_the_vectors_within_bounds(version: IndexVersion) -> None:
    assert graph.memory_mb(version, 10) == graph.LEAST_MEMORY_MB
    assert graph.memory_mb(version, 200_000) in range(400, 600)
    assert graph.memory_mb(version, 10**9) == graph.MOST_MEMORY_MB


def oid(version: IndexVersion) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)::oid", [graph.name(version)])
        (found,) = cursor.fetchone()
    return int(found)
