"""Computes a version's vectors from those that another version has stored, inside the database, without the model.

Only where that gives what the model would: of the same model and chunking, the first dimensions brought to
unit length again, or the same numbers stored in no more bits. A half-precision source was rounded once
before, so such a vector may differ from the model's own by one unit in the last place of a half.
"""

from collections.abc import Iterable
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, IntegerField, Value, When
from psycopg import sql

from kb.core.holding import held
from kb.documents import stages
from kb.documents.models import Chunk
from kb.indexes import embedding_table, placing
from kb.indexes.embedding_table import typed
from kb.indexes.models import EmbeddingJob, Index, IndexVersion

PORTION = 5000  # vectors in one transaction
Storage = IndexVersion.Storage
# From the most precise to the least; a bit version keeps half-precision numbers to rescore with.
BITS = {Storage.VECTOR: 32, Storage.HALFVEC: 16, Storage.BIT: 16}

# What is there already is passed over inside the database, so that going on costs little however much is done.
NEXT = """
SELECT source.chunk_id FROM {source} source WHERE source.chunk_id > %(after)s AND NOT EXISTS (
    SELECT FROM {table} made WHERE made.chunk_id = source.chunk_id AND made.content_hash = source.content_hash
) ORDER BY source.chunk_id LIMIT %(most)s
"""

# Jobs first, as workers do: whoever holds a chunk's job has its vector to himself.
HELD_JOBS = """
SELECT id FROM indexes_embeddingjob WHERE version_id = %(version)s AND chunk_id = ANY(%(chunks)s)
ORDER BY id FOR UPDATE
"""
DERIVE = """
INSERT INTO {table} AS present
    (chunk_id, collection_id, content_hash, vector, worker, backend, number_format)
SELECT source.chunk_id, chunk.collection_id, source.content_hash, {vector}, %(worker)s, source.backend,
    source.number_format
FROM {source} source JOIN documents_chunk chunk ON chunk.id = source.chunk_id
WHERE source.chunk_id = ANY(%(chunks)s) AND {belongs}
    AND source.content_hash = sha256(%(prompt)s::bytea || chunk.rendered_hash) AND {usable}
ON CONFLICT (chunk_id) DO UPDATE SET collection_id = excluded.collection_id,
    content_hash = excluded.content_hash, vector = excluded.vector, created_at = now(),
    worker = excluded.worker, backend = excluded.backend, number_format = excluded.number_format
    WHERE present.content_hash <> excluded.content_hash
"""
DONE_JOBS = """
DELETE FROM indexes_embeddingjob WHERE id = ANY(ARRAY(
    SELECT job.id FROM indexes_embeddingjob job
    JOIN documents_chunk chunk ON chunk.id = job.chunk_id
    JOIN {table} made ON made.chunk_id = job.chunk_id
    WHERE job.version_id = %(version)s AND job.chunk_id = ANY(%(chunks)s)
        AND made.content_hash = sha256(%(prompt)s::bytea || chunk.rendered_hash)
))
"""


def computable(source: IndexVersion, wanted: IndexVersion) -> bool:
    """Whether the vectors of `wanted` follow from those of `source`."""
    return (
        source.pk != wanted.pk
        and (source.model_id, source.chunking_id) == (wanted.model_id, wanted.chunking_id)
        and source.dimensions >= wanted.dimensions
        and BITS[Storage(source.storage)] >= BITS[Storage(wanted.storage)]
    )


def source_for(index: Index, wanted: IndexVersion) -> IndexVersion | None:
    """The version of `index` to derive `wanted` from: the most precise, the live one before others; or None."""
    complete = IndexVersion.objects.maintained().filter(index=index, built_at__isnull=False)
    first = Case(When(state="live", then=Value(0)), default=Value(1), output_field=IntegerField())
    found = [one for one in complete.order_by(first, "-pk") if computable(one, wanted)]
    return max(found, key=lambda one: BITS[Storage(one.storage)], default=None)


def source_of(version: IndexVersion) -> IndexVersion | None:
    """The one that it is derived from, as long as its table is there."""
    source = version.derived_from
    return source if source is not None and embedding_table.exists(source) else None


def derive_portion(
    version: IndexVersion, source: IndexVersion, after: int, most: int = PORTION
) -> int | None:
    """Derives the next missing vectors, of chunks with ids greater than `after`.

    Returns the last of these, None if there was none. It may be cut short and called again. What the source
    has no right vector for is left out: the queue makes it.
    """
    with connection.cursor() as cursor:
        statement = sql.SQL(NEXT).format(
            source=sql.Identifier(source.table), table=sql.Identifier(version.table)
        )
        cursor.execute(statement, {"after": after, "most": most})
        chunks = [chunk for (chunk,) in cursor.fetchall()]
    if not chunks:
        return None
    derive(version, source, chunks)
    return int(chunks[-1])


@transaction.atomic
def derive(version: IndexVersion, source: IndexVersion, chunks: Iterable[int]) -> None:
    """Vectors in, jobs out. Chunks that are being deleted are left out; the others stay until the commit."""
    alive = held(Chunk, chunks)
    given: dict[str, Any] = {
        "version": version.pk,
        "chunks": sorted(alive),
        "prompt": version.model.document_prompt.encode(),
        **placing.given(version.index),
        "worker": stages.worker(),
    }
    names: dict[str, sql.Composable] = {
        "table": sql.Identifier(version.table),
        "source": sql.Identifier(source.table),
        "belongs": sql.SQL(placing.belongs("chunk")),
    }
    with connection.cursor() as cursor:
        cursor.execute(HELD_JOBS, given)
        cursor.execute(sql.SQL(DERIVE).format(**names, **computed(version, source)), given)
        if EmbeddingJob.objects.filter(version=version).exists():
            cursor.execute(sql.SQL(DONE_JOBS).format(**names), given)


def computed(version: IndexVersion, source: IndexVersion) -> dict[str, sql.Composable]:
    """The expression of the new vector, in float32 until the last step, and which sources give one."""
    if source.dimensions == version.dimensions:
        return {
            "vector": sql.SQL("source.vector::{}").format(typed(version)),
            "usable": sql.SQL("true"),
        }
    part = sql.SQL("subvector(source.vector::vector, 1, {})").format(sql.Literal(version.dimensions))
    return {
        "vector": sql.SQL("l2_normalize({})::{}").format(part, typed(version)),
        "usable": sql.SQL("vector_norm({}) > 0").format(part),
    }
