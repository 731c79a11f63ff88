"""The table of one index version's vectors: made, filled, searched and dropped by name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.db import connection
from numpy.typing import NDArray
from pgvector import Vector
from psycopg import sql

from kb.indexes.models import IndexVersion

OPERATORS = {"vector": "vector_cosine_ops", "halfvec": "halfvec_cosine_ops"}


@dataclass(frozen=True)
class Origin:
    """Where a batch of vectors was made, for the lineage of each."""

    worker: str
    backend: str
    number_format: str


def create(version: IndexVersion) -> None:
    """Makes the table with its HNSW index; there must be none of that name."""
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
        cursor.execute(
            sql.SQL(
                "CREATE INDEX {name} ON {table} USING hnsw (vector {operators}) "
                "WITH (m = {m}, ef_construction = {ef})"
            ).format(
                name=sql.Identifier(f"{version.table}_hnsw"),
                operators=sql.SQL(OPERATORS[version.storage]),
                m=sql.Literal(version.hnsw_m),
                ef=sql.Literal(version.hnsw_ef_construction),
                **names,
            )
        )


def typed(version: IndexVersion) -> sql.Composed:
    """The column's type, such as halfvec(384)."""
    return sql.SQL("{}({})").format(sql.SQL(version.storage), sql.Literal(version.dimensions))


def drop(version: IndexVersion) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(version.table)))


def write(
    version: IndexVersion,
    rows: Sequence[tuple[int, int, bytes]],
    vectors: NDArray[np.float32],
    origin: Origin,
) -> None:
    """Adds or replaces the vectors (n, dimensions) of `rows`: chunk id, collection id, content hash."""
    statement = sql.SQL(
        "INSERT INTO {} (chunk_id, collection_id, content_hash, vector, worker, backend, number_format) "
        "SELECT c, o, h, v::{}, %s, %s, %s FROM unnest(%s::integer[], %s::bigint[], %s::bytea[], %s::text[]) "
        "AS new (c, o, h, v) ON CONFLICT (chunk_id) DO UPDATE SET collection_id = excluded.collection_id, "
        "content_hash = excluded.content_hash, vector = excluded.vector, created_at = now(), "
        "worker = excluded.worker, backend = excluded.backend, number_format = excluded.number_format"
    ).format(sql.Identifier(version.table), sql.SQL(version.storage))
    texts = [Vector(vector).to_text() for vector in vectors]
    chunks, collections, hashes = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            [
                origin.worker,
                origin.backend,
                origin.number_format,
                list(chunks),
                list(collections),
                list(hashes),
                texts,
            ],
        )


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
