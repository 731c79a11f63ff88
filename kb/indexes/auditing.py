"""Checks over the whole database that every version has what it should, and nothing else; repairs what it can.

Invariant 2: for every chunk and every maintained version of its index there is one embedding with the hash
of what the model read, or a job; and every document has its chunks there. Invariant 6: no two vector spaces are mixed.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from kb.core.auditing import record
from kb.core.models import Reader
from kb.documents.models import Chunk
from kb.indexes import embedding_queue, embedding_table, graph, placing, rechunking, relocating
from kb.indexes.models import CollectionLeaving, Index, IndexVersion

logger = logging.getLogger(__name__)

State = IndexVersion.State
LEFTOVERS = "Chunks of a collection that is in another index."
UNIT = 0.01  # so far the length of a stored vector may be off 1: half precision rounds

# Chunks that belong to the version: of its chunking, in the collections of its index.
OWN = sql.SQL(
    "SELECT chunk.id, chunk.collection_id, chunk.rendered_hash FROM documents_chunk chunk "
    "WHERE chunk.chunking_id = %(chunking)s AND {belongs}"
).format(belongs=sql.SQL(placing.belongs("chunk")))
MISSING = """
SELECT count(*) FROM ({own}) own
WHERE NOT EXISTS (
        SELECT FROM {table} made WHERE made.chunk_id = own.id
            AND made.content_hash = sha256(%(prompt)s::bytea || own.rendered_hash)
    )
    AND NOT EXISTS (
        SELECT FROM indexes_embeddingjob job WHERE job.version_id = %(version)s AND job.chunk_id = own.id
    )
"""
# Those of a collection that leaves the index just now go by themselves.
STRAYS = """
SELECT count(*) FROM {table} made
WHERE NOT EXISTS (SELECT FROM ({own}) own WHERE own.id = made.chunk_id)
    AND NOT EXISTS (
        SELECT FROM indexes_collectionleaving leaving
        WHERE leaving.collection_id = made.collection_id AND leaving.index_id = %(index)s
    )
"""
FORGET_STRAYS = (
    "DELETE FROM {table} made WHERE NOT EXISTS (SELECT FROM ({own}) own WHERE own.id = made.chunk_id)"
)
MISPLACED = """
SELECT count(*) FROM {table} made JOIN documents_chunk chunk ON chunk.id = made.chunk_id
WHERE chunk.collection_id <> made.collection_id
"""
PLACE = """
UPDATE {table} made SET collection_id = chunk.collection_id FROM documents_chunk chunk
WHERE chunk.id = made.chunk_id AND chunk.collection_id <> made.collection_id
"""
# NaN is greater than any number.
ODD = """
SELECT count(*) FROM {table} WHERE NOT vector_norm(vector::vector) BETWEEN 1 - %(unit)s AND 1 + %(unit)s
"""
FORGET_ODD = """
DELETE FROM {table} WHERE NOT vector_norm(vector::vector) BETWEEN 1 - %(unit)s AND 1 + %(unit)s
"""
ORPHANS = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    AND relname ~ '^embedding_[0-9]+$'
    AND NOT EXISTS (SELECT FROM indexes_indexversion version WHERE 'embedding_' || version.id = relname)
ORDER BY relname
"""
COLUMN = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attname = 'vector' AND NOT attisdropped
"""


@dataclass(frozen=True)
class Finding:
    """`count` things of one kind that are not as they should be; `repaired`: they were, and are not any more.

    `unknown`: whether they are could not be found out.
    """

    invariant: int
    kind: str
    version: str
    count: int
    message: str
    repaired: bool = False
    unknown: bool = False


@dataclass(frozen=True)
class Check:
    """One thing that may be wrong with a version's vectors: how to count it, and how to repair it."""

    invariant: int
    kind: str
    message: str
    count: Callable[[IndexVersion], int]
    repair: Callable[[IndexVersion], object] | None = None


def audit(actor: Reader | None = None, *, repair: bool = False) -> list[Finding]:
    """What is wrong. With `repair`, what can be repaired is, said to be, and written to the audit log."""
    findings = [*pointers(), *orphans(repair=repair), *versions(repair=repair), *leftovers(repair=repair)]
    for one in findings:
        if one.repaired:
            record(actor, "repair", one.version or "database", kind=one.kind, count=one.count)
    return findings


def pointers() -> Iterator[Finding]:
    """Each index serves one version of its own, which is live."""
    for index in Index.objects.select_related("live_version").order_by("pk"):
        live = index.live_version
        unserved = IndexVersion.objects.filter(index=index, state=State.LIVE)
        if live is not None and (live.index_id != index.pk or live.state != State.LIVE):
            yield Finding(6, "pointer", str(live), 1, f"{index} serves {live}, which is {live.state}.")
        if live is not None:
            unserved = unserved.exclude(pk=live.pk)
        if others := unserved.count():
            yield Finding(6, "live", str(index), others, f"{index} has a live version that does not serve.")


def orphans(*, repair: bool) -> Iterator[Finding]:
    """Tables of versions that no longer exist."""
    with connection.cursor() as cursor:
        cursor.execute(ORPHANS)
        found = [name for (name,) in cursor.fetchall()]
        for name in found if repair else ():
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    if found:
        message = f"Tables without a version: {', '.join(found)}."
        yield Finding(6, "orphans", "", len(found), message, repaired=repair)


def leftovers(*, repair: bool) -> Iterator[Finding]:
    """Chunks in an index that their collection is not in; of dropped versions a sweep deletes them anyway.

    Nothing is wrong with those of a collection that leaves the index just now.
    """
    here = IndexVersion.objects.exclude(state=State.DROPPED)
    for index in Index.objects.order_by("pk"):
        chunks = Chunk.objects.filter(chunking__in=here.filter(index=index).values("chunking"))
        for collection_id in chunks.order_by("collection").values_list("collection", flat=True).distinct():
            if relocating.came_back(collection_id, index.pk):
                continue
            used = placing.versions_for(collection_id, [*set(State) - {State.DROPPED}])
            unused = chunks.filter(collection=collection_id)
            count = unused.exclude(chunking__in={version.chunking_id for version in used}).count()
            if count and not CollectionLeaving.objects.filter(collection=collection_id, index=index).exists():
                if repair:
                    relocating.begin_to_leave(collection_id, index.pk)
                    while not relocating.leave(collection_id, index.pk):
                        pass
                yield Finding(2, "leftovers", str(index), count, LEFTOVERS, repaired=repair)


def versions(*, repair: bool) -> Iterator[Finding]:
    for version in IndexVersion.objects.select_related("index", "model").order_by("pk"):
        if version.state == State.DROPPED:
            continue
        if column_type(version) != wanted_type(version):
            message = f"Its table is {column_type(version) or 'missing'} instead of {wanted_type(version)}."
            yield Finding(6, "table", str(version), 1, message)
            continue
        for check in checks_of(version):
            count = check.count(version)
            if count:
                yield finding(check, version, count, repair=repair)


def finding(check: Check, version: IndexVersion, count: int, *, repair: bool) -> Finding:
    repaired = False
    if repair and check.repair is not None:
        check.repair(version)
        repaired = check.count(version) == 0
    return Finding(check.invariant, check.kind, str(version), count, check.message, repaired)


def checks_of(version: IndexVersion) -> Iterator[Check]:
    """Those that apply: a build writes its jobs by and by, and what is not maintained may lag behind."""
    yield STRAY
    yield MISPLACED_VECTORS
    yield ODD_VECTORS
    if version.state in IndexVersion.MAINTAINED and version.state != State.BUILDING:
        yield NO_CHUNKS
        yield NO_VECTOR
    if version.built_at is not None:
        yield NO_GRAPH
    if version.state in {State.LIVE, State.RETIRED}:
        yield UNBUILT


def counted(statement: str) -> Callable[[IndexVersion], int]:
    def count(version: IndexVersion) -> int:
        with connection.cursor() as cursor:
            cursor.execute(named(statement, version), given(version))
            (found,) = cursor.fetchone()
        return int(found)

    return count


def executed(statement: str) -> Callable[[IndexVersion], int]:
    def execute(version: IndexVersion) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(named(statement, version), given(version))
            return int(cursor.rowcount)

    return execute


def named(statement: str, version: IndexVersion) -> sql.Composed:
    return sql.SQL(statement).format(table=sql.Identifier(version.table), own=OWN)


def given(version: IndexVersion) -> dict[str, Any]:
    return {
        "version": version.pk,
        "chunking": version.chunking_id,
        **placing.given(version.index),
        "prompt": version.model.document_prompt.encode(),
        "unit": UNIT,
    }


def make_anew(version: IndexVersion) -> None:
    """Without its vector a chunk lacks it, and gets a job."""
    executed(FORGET_ODD)(version)
    embedding_queue.enqueue_missing(version)


def build_graph(version: IndexVersion) -> None:
    graph.ensure(version, embedding_table.count(version))


def column_type(version: IndexVersion) -> str:
    with connection.cursor() as cursor:
        cursor.execute(COLUMN, {"table": version.table})
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def wanted_type(version: IndexVersion) -> str:
    return embedding_table.typed(version).as_string()


def uncut(version: IndexVersion) -> int:
    """Documents that lack chunks, and do not wait for them either."""
    return sum(count - waiting for count, waiting in rechunking.lacking(version).values())


def cut_anew(version: IndexVersion) -> None:
    rechunking.forget(version)
    rechunking.enqueue_missing(version)


STRAY = Check(
    2,
    "strays",
    "Vectors of chunks that are gone, or that belong to another index.",
    counted(STRAYS),
    executed(FORGET_STRAYS),
)
MISPLACED_VECTORS = Check(
    4,
    "misplaced",
    "Vectors that name another collection than their chunk's.",
    counted(MISPLACED),
    executed(PLACE),
)
ODD_VECTORS = Check(
    6,
    "odd",
    "Vectors that are not of unit length, or hold numbers that are none.",
    counted(ODD),
    make_anew,
)
NO_CHUNKS = Check(
    2,
    "uncut",
    "Documents that have no chunks there, or not all.",
    uncut,
    cut_anew,
)
NO_VECTOR = Check(
    2,
    "missing",
    "Chunks with neither the right vector nor a job.",
    counted(MISSING),
    embedding_queue.enqueue_missing,
)
NO_GRAPH = Check(
    6,
    "graph",
    "Its HNSW index is missing, or a build of it was cut short.",
    lambda version: int(not graph.valid(version)),
    build_graph,
)
UNBUILT = Check(6, "unbuilt", "It serves, or did, without being built.", lambda v: int(v.built_at is None))
