"""Whether a version has all its vectors, and whether they are vectors of its space: counted in the database."""

from typing import Any

from django.db import connection
from psycopg import sql

from kb.indexes import placing, rechunking
from kb.indexes.models import EmbeddingJob, IndexVersion
from retrieval.validation import Rows, Vectors

# Per collection of the index: chunks, those with the right vector, those with a job that will be done.
ROWS = """
SELECT chunk.collection_id, count(*), count(*) FILTER (WHERE has.vector), count(*) FILTER (WHERE NOT has.vector AND has.job)
FROM documents_chunk chunk
CROSS JOIN LATERAL (SELECT
    EXISTS (SELECT FROM {table} known WHERE known.chunk_id = chunk.id
        AND known.content_hash = sha256(%(prompt)s::bytea || chunk.rendered_hash)) AS vector,
    EXISTS (SELECT FROM indexes_embeddingjob job WHERE job.version_id = %(version)s AND job.chunk_id = chunk.id
        AND job.attempts < %(most_attempts)s) AS job
) has
WHERE chunk.chunking_id = %(chunking)s AND {belongs}
GROUP BY chunk.collection_id ORDER BY chunk.collection_id
"""  # noqa: E501
STRAYS = """
SELECT known.collection_id, count(*) FROM {table} known
LEFT JOIN documents_chunk chunk ON chunk.id = known.chunk_id AND chunk.chunking_id = %(chunking)s
    AND chunk.collection_id = known.collection_id
WHERE chunk.id IS NULL GROUP BY known.collection_id
"""
# As text a number that is none looks like nothing else, whatever the column's type.
VECTORS = """
SELECT count(*), count(*) FILTER (WHERE length = 0), count(*) FILTER (WHERE length = 'NaN'),
    coalesce(min(length) FILTER (WHERE length > 0), 1), coalesce(max(length) FILTER (WHERE length <> 'NaN'), 1)
FROM (SELECT {length}(vector) AS length FROM {table}) measured
"""
TYPE = """
SELECT split_part(format_type(atttypid, atttypmod), '(', 1) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = 'vector'
"""
LENGTHS = {"vector": "vector_norm", "halfvec": "l2_norm"}


def rows(version: IndexVersion) -> tuple[Rows, ...]:
    """Invariant 2, collection by collection. The index of `version` and its model must be at hand."""
    given = {
        "version": version.pk,
        "chunking": version.chunking_id,
        **placing.given(version.index),
        "prompt": version.model.document_prompt.encode(),
        "most_attempts": EmbeddingJob.MOST_ATTEMPTS,
    }
    counts = {collection: count for collection, *count in read(ROWS, version, given)}
    strays = dict(read(STRAYS, version, given))
    uncut = {collection: count for collection, (count, _) in rechunking.lacking(version).items()}
    found = []
    for collection in sorted({*counts, *strays, *uncut}):
        chunks, right, waiting = counts.get(collection, (0, 0, 0))
        lost = chunks - right - waiting
        found.append(
            Rows(
                collection, chunks, right, waiting, lost, strays.get(collection, 0), uncut.get(collection, 0)
            )
        )
    return tuple(found)


def vectors(version: IndexVersion) -> Vectors:
    """Lengths of what is stored; of bits there is only their number."""
    with connection.cursor() as cursor:
        cursor.execute(TYPE, [version.table])
        ((kind,),) = cursor.fetchall()
    if kind not in LENGTHS:
        return Vectors(int(read("SELECT count(*) FROM {table}", version, {})[0][0]))
    ((count, zeros, not_numbers, shortest, longest),) = read(VECTORS, version, {}, LENGTHS[kind])
    return Vectors(count, zeros, not_numbers, float(shortest), float(longest))


def read(
    statement: str, version: IndexVersion, given: dict[str, Any], length: str = ""
) -> list[tuple[Any, ...]]:
    composed = sql.SQL(statement).format(
        table=sql.Identifier(version.table), length=sql.SQL(length), belongs=sql.SQL(placing.belongs("chunk"))
    )
    with connection.cursor() as cursor:
        cursor.execute(composed, given)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found
