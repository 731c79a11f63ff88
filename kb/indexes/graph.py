"""The HNSW index of one version's table: made with the table, or concurrently once all vectors are loaded.

A search and a writer never wait for a concurrent build. One that was cut short leaves an invalid index
behind, which serves nobody and costs each writer: it is dropped and built anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection
from psycopg import sql

from kb.core import pools
from kb.indexes.models import IndexVersion

# What is indexed, by storage: the vector itself, or one bit of each of its numbers.
INDEXED = {
    "vector": "vector vector_cosine_ops",
    "halfvec": "vector halfvec_cosine_ops",
    "bit": "(binary_quantize(vector)::bit({dimensions})) bit_hamming_ops",
}
MOST_DIMENSIONS = {
    "vector": 2000,
    "halfvec": 4000,
    "bit": 4000,
}  # of an index, and of a column to rescore with
BITS = {"vector": 32, "halfvec": 16, "bit": 1}
# What the graph takes in memory for each vector beside its numbers and its links, generously.
OVERHEAD_BYTES = 700
LINK_BYTES = 32
LEAST_MEMORY_MB, MOST_MEMORY_MB = 64, 1024


def name(version: IndexVersion) -> str:
    return f"{version.table}_hnsw"


def definition(version: IndexVersion, *, concurrently: bool) -> sql.Composed:
    return sql.SQL(
        "CREATE INDEX {concurrently} {name} ON {table} USING hnsw ({indexed}) "
        "WITH (m = {m}, ef_construction = {ef})"
    ).format(
        concurrently=sql.SQL("CONCURRENTLY" if concurrently else ""),
        name=sql.Identifier(name(version)),
        table=sql.Identifier(version.table),
        indexed=sql.SQL(INDEXED[version.storage]).format(dimensions=sql.Literal(version.dimensions)),
        m=sql.Literal(version.hnsw_m),
        ef=sql.Literal(version.hnsw_ef_construction),
    )


def create(version: IndexVersion) -> None:
    """Inside a transaction: on a table that is empty, or that nobody else knows yet."""
    with connection.cursor() as cursor:
        cursor.execute(definition(version, concurrently=False))


def ensure(version: IndexVersion, rows: int) -> None:
    """Afterwards the index is there and valid, for a table of about `rows` vectors. Takes minutes.

    On a connection of its own, outside any transaction. Raises psycopg.Error where the build was cut
    short: what is left of it is found by the next call. One process at a time: the caller sees to that.
    """
    with apart() as connected:
        found = valid(version)
        if found is False:
            connected.execute(
                sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name(version)))
            )
        if not found:
            settle_in(connected, version, rows)
            connected.execute(definition(version, concurrently=True))


def settle_in(connected: psycopg.Connection, version: IndexVersion, rows: int) -> None:
    """Memory for the whole graph, within bounds, and one process: the others are for the searches."""
    connected.execute(
        "SELECT set_config('maintenance_work_mem', %s, false)", [f"{memory_mb(version, rows)}MB"]
    )
    connected.execute("SET max_parallel_maintenance_workers = 0")


def memory_mb(version: IndexVersion, rows: int) -> int:
    """What holds the graph of `rows` vectors; beyond it, pgvector builds on disk, and slowly."""
    links = 2 * version.hnsw_m * LINK_BYTES
    needed = rows * (BITS[version.storage] * version.dimensions // 8 + links + OVERHEAD_BYTES)
    return min(max(needed // 2**20 + 1, LEAST_MEMORY_MB), MOST_MEMORY_MB)


def valid(version: IndexVersion) -> bool | None:
    """Whether the index can be used; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass(%s)",
            [name(version)],
        )
        row = cursor.fetchone()
    return bool(row[0]) if row else None


def progress(version: IndexVersion) -> float | None:
    """How much of the table a running build has read, from 0 to 1; None while none runs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(blocks_done::float / nullif(blocks_total, 0), 0) FROM pg_stat_progress_create_index "
            "WHERE relid = to_regclass(%s) AND datname = current_database()",
            [version.table],
        )
        row = cursor.fetchone()
    return min(float(row[0]), 1.0) if row else None


def stop(version: IndexVersion) -> None:
    """Cancels a build that runs, in whatever process: it leaves an invalid index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index "
            "WHERE relid = to_regclass(%s) AND datname = current_database()",
            [version.table],
        )


@contextmanager
def apart() -> Iterator[psycopg.Connection]:
    """A connection of its own, without a transaction: a concurrent build allows none."""
    with psycopg.connect(**pools.parameters(), autocommit=True) as connected:
        yield connected
