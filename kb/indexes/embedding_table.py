"""The table of one index version's vectors: made, filled and dropped by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray
from psycopg import sql

from kb.indexes import graph
from kb.indexes.models import IndexVersion

# The type of the column, by storage: a bit version is searched by bits and rescored with half-precision numbers.
STORED = {"vector": "vector", "halfvec": "halfvec", "bit": "halfvec"}
NUMBERS = {"vector": ">f4", "halfvec": ">f2"}
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
MOST_LOOKED_AT = 20

Row: TypeAlias = tuple[int, int, bytes]
"""Chunk id, collection id, content hash; all hashes have one length."""


@dataclass(frozen=True)
class Origin:
    """Where a batch of vectors was made, for the lineage of each."""

    worker: str
    backend: str
    number_format: str


def create(version: IndexVersion, *, with_graph: bool = True) -> None:
    """Makes the table, with its HNSW index unless that is to be built when all is loaded.

    There must be none of that name.
    """
    names = {"table": sql.Identifier(version.table), "type": typed(version)}
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "CREATE TABLE {table} (chunk_id integer PRIMARY KEY, collection_id bigint NOT NULL, "
                "vector {type} NOT NULL, content_hash bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), "
                "worker text NOT NULL, backend text NOT NULL, number_format text NOT NULL)"
            ).format(**names)
        )
        cursor.execute(
            sql.SQL("CREATE INDEX {name} ON {table} (collection_id)").format(
                name=sql.Identifier(f"{version.table}_collection"), **names
            )
        )
        cursor.execute(
            sql.SQL("CREATE INDEX {name} ON {table} USING hash (content_hash)").format(
                name=sql.Identifier(f"{version.table}_content"), **names
            )
        )
    if with_graph:
        graph.create(version)


def typed(version: IndexVersion) -> sql.Composed:
    """The column's type, such as halfvec(384)."""
    return sql.SQL("{}({})").format(sql.SQL(STORED[version.storage]), sql.Literal(version.dimensions))


def alike(storage: str) -> list[str]:
    """The storages whose columns hold the same numbers as this one's."""
    return [other for other in STORED if STORED[other] == STORED[storage]]


def drop(version: IndexVersion) -> None:
    """The table with its indexes; waits for whoever reads it."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(version.table)))


def exists(version: IndexVersion) -> bool:
    """Whether the table, or any index of its name, is there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
            "AND (relname = %(table)s OR starts_with(relname, %(table)s || '_')))",
            {"table": version.table},
        )
        (found,) = cursor.fetchone()
    return bool(found)


def write(
    version: IndexVersion,
    rows: Sequence[Row],
    vectors: NDArray[np.float32],
    origin: Origin,
) -> None:
    """Adds or replaces the vectors (n, dimensions) of `rows`, by COPY.

    Of two transactions that write the vector of the same chunk at once, one fails: whoever removes the
    chunk's job first has it to himself.
    """
    constant = [text.encode() for text in (origin.worker, origin.backend, origin.number_format)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("DELETE FROM {} WHERE chunk_id = ANY(%s)").format(sql.Identifier(version.table)),
            [[chunk for chunk, _, _ in rows]],
        )
        statement = sql.SQL(
            "COPY {} (chunk_id, collection_id, content_hash, vector, worker, backend, number_format) "
            "FROM STDIN (FORMAT BINARY)"
        ).format(sql.Identifier(version.table))
        with cursor.copy(statement) as copy:
            copy.write(copied(rows, vectors, NUMBERS[STORED[version.storage]], constant))


def copied(
    rows: Sequence[Row], vectors: NDArray[np.float32], number: str, constant: Sequence[bytes]
) -> bytes:
    """What COPY reads in its binary format, all rows at once: they have one length, so numpy lays them out.

    Each field follows its length; those of `constant` are the same in every row. A vector is its
    dimensions, an unused number, and its numbers.
    https://www.postgresql.org/docs/current/sql-copy.html, pgvector's halfvec_send and vector_send.
    """
    dimensions, size = vectors.shape[1], np.dtype(number).itemsize
    hash_bytes = len(rows[0][2])
    layout: list[tuple[Any, ...]] = [
        ("fields", ">i2"),
        ("chunk_length", ">i4"), ("chunk", ">i4"),
        ("collection_length", ">i4"), ("collection", ">i8"),
        ("hash_length", ">i4"), ("hash", "u1", (hash_bytes,)),
        ("vector_length", ">i4"), ("dimensions", ">i2"), ("unused", ">i2"), ("vector", number, (dimensions,)),
    ]  # fmt: skip
    for place, text in enumerate(constant):
        layout += [(f"length_{place}", ">i4"), (f"text_{place}", "u1", (len(text),))]
    table = np.zeros(len(rows), dtype=layout)
    table["fields"] = 4 + len(constant)
    table["chunk_length"], table["chunk"] = 4, [chunk for chunk, _, _ in rows]
    table["collection_length"], table["collection"] = 8, [collection for _, collection, _ in rows]
    hashes = b"".join(content_hash for _, _, content_hash in rows)
    table["hash_length"], table["hash"] = hash_bytes, np.frombuffer(hashes, "u1").reshape(-1, hash_bytes)
    table["vector_length"] = 4 + size * dimensions
    table["dimensions"], table["vector"] = dimensions, vectors
    for place, text in enumerate(constant):
        table[f"length_{place}"], table[f"text_{place}"] = len(text), np.frombuffer(text, "u1")
    return COPY_HEADER + table.tobytes() + COPY_END


def known(
    version: IndexVersion, others: Sequence[IndexVersion], rows: Sequence[Row], number_format: str
) -> set[int]:
    """The chunks of `rows` whose very input has a vector already, in this version's table or in one of `others`."""
    with transaction.atomic(), connection.cursor() as cursor:
        by_index_only(cursor)
        cursor.execute(
            sql.SQL("SELECT given.chunk FROM {}").format(matched([version, *others])),
            given(rows, number_format),
        )
        return {chunk for (chunk,) in cursor.fetchall()}


def copy_known(
    version: IndexVersion, others: Sequence[IndexVersion], rows: Sequence[Row], origin: Origin
) -> dict[int, bool]:
    """Adds or replaces the vectors of `rows` whose very input has one already, in this table or in one of `others`.

    Returns the chunks concerned, and of each whether the vector came from its own collection. Backend
    and number format are those of the making; when and by which worker are of the copying, because they
    would tell a reader that a collection which they do not see holds the same text.
    """
    statement = sql.SQL(
        "WITH found AS MATERIALIZED (SELECT given.chunk, given.collection, given.hash, vector, backend, "
        "number_format, near FROM {source}), written AS ("
        "INSERT INTO {table} AS present "
        "(chunk_id, collection_id, content_hash, vector, worker, backend, number_format) "
        "SELECT chunk, collection, hash, vector, %(worker)s, backend, number_format FROM found "
        "ON CONFLICT (chunk_id) DO UPDATE SET collection_id = excluded.collection_id, "
        "content_hash = excluded.content_hash, vector = excluded.vector, created_at = now(), "
        "worker = excluded.worker, backend = excluded.backend, number_format = excluded.number_format "
        "WHERE present.content_hash <> excluded.content_hash OR present.number_format <> excluded.number_format) "
        "SELECT chunk, near FROM found"
    ).format(source=matched([version, *others]), table=sql.Identifier(version.table))
    with transaction.atomic(), connection.cursor() as cursor:
        by_index_only(cursor)
        cursor.execute(statement, given(rows, origin.number_format) | {"worker": origin.worker})
        return dict(cursor.fetchall())


def matched(versions: Sequence[IndexVersion]) -> sql.Composed:
    """The given rows, each with one vector of its input: one of its own collection, if that is soon found.

    A text that stands in a great many chunks must cost no more than another.
    """
    one = sql.SQL(
        "(SELECT vector, backend, number_format, collection_id = given.collection AS near FROM {} "
        "WHERE content_hash = given.hash AND number_format = %(number_format)s LIMIT {})"
    )
    tables = [one.format(sql.Identifier(version.table), sql.Literal(MOST_LOOKED_AT)) for version in versions]
    return sql.SQL(
        "unnest(%(chunks)s::integer[], %(collections)s::bigint[], %(hashes)s::bytea[]) "
        "AS given (chunk, collection, hash) "
        "CROSS JOIN LATERAL (SELECT * FROM ({}) same ORDER BY near DESC LIMIT 1) best"
    ).format(sql.SQL(" UNION ALL ").join(tables))


def given(rows: Sequence[Row], number_format: str) -> dict[str, Any]:
    chunks, collections, hashes = (list(column) for column in zip(*rows, strict=True))
    return {"chunks": chunks, "collections": collections, "hashes": hashes, "number_format": number_format}


def by_index_only(cursor: Any) -> None:
    """Until the transaction ends: before its first ANALYZE a table is thought to hold each hash many times,
    and reading it through would seem to find one soon."""
    cursor.execute("SET LOCAL enable_seqscan = off")


def count(version: IndexVersion) -> int:
    """How many vectors the version has."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(version.table)))
        (rows,) = cursor.fetchone()
    return int(rows)


def size_bytes(version: IndexVersion) -> int:
    """The size of the table with its indexes, on disk."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(pg_total_relation_size(to_regclass(%s)), 0)", [version.table])
        (size,) = cursor.fetchone()
    return int(size)
