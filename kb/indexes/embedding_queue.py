"""The queue of chunks that need a vector: written with the chunks, leased in turns, repaired by audit.

Its rows are always locked in the order of their ids, so that nobody waits for each other in a circle.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.utils import timezone
from psycopg import sql

from kb.documents.models import Chunk, Chunking, Document
from kb.indexes import placing
from kb.indexes.models import EmbeddingJob, EmbeddingModel, IndexVersion
from retrieval.chunking import render

logger = logging.getLogger(__name__)

MOST = 512  # jobs in one lease
PORTION = 5000  # chunks that one statement of the audit looks at

# `NOT paused AND attempts < 5` is the condition of the index embedding_queue: else it would not be used.
# No other index has this one's order: one that had would be taken while the queue is thought to be empty,
# and it would be read through with all the dead entries in it.

# Steps from collection to collection in the index, however many jobs each of them has.
COLLECTIONS = """
WITH RECURSIVE turn AS (
    (
        SELECT collection_id FROM indexes_embeddingjob
        WHERE version_id = %(version)s AND NOT paused AND attempts < 5
            AND collection_id > %(after)s
        ORDER BY collection_id, created_at LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT collection_id FROM indexes_embeddingjob
        WHERE version_id = %(version)s AND NOT paused AND attempts < 5
            AND collection_id > turn.collection_id ORDER BY collection_id, created_at LIMIT 1
    ) FROM turn WHERE turn.collection_id IS NOT NULL
)
SELECT collection_id FROM turn WHERE collection_id IS NOT NULL LIMIT %(most)s
"""

# A job at which workers ended twice is taken alone: were its text to blame, it would take the others with it. How
# often that was counts in `attempts`, since a worker that ended could not write an error.
TAKE = """
WITH picked AS (
    SELECT job.id, job.attempts >= 2 AND job.error = '' AS suspect
    FROM unnest(%(collections)s::bigint[]) AS turn (number) CROSS JOIN LATERAL (
        SELECT id, attempts, error FROM indexes_embeddingjob
        WHERE version_id = %(version)s AND NOT paused AND attempts < 5 AND collection_id = turn.number
            AND (lease_until IS NULL OR lease_until < now())
        ORDER BY created_at, id LIMIT %(quota)s FOR UPDATE SKIP LOCKED
    ) job
), alone AS (
    SELECT id FROM picked WHERE suspect AND %(first)s ORDER BY id LIMIT 1
), chosen AS (
    SELECT id FROM alone UNION ALL SELECT id FROM picked WHERE NOT suspect AND NOT EXISTS (SELECT FROM alone)
)
UPDATE indexes_embeddingjob SET lease_until = %(until)s, attempts = attempts + 1
WHERE id = ANY(ARRAY(SELECT id FROM chosen))
RETURNING collection_id, chunk_id, id, attempts > 2 AND error = ''
"""

# Only the documents are looked up by (see kb.indexes.settling). Jobs that are there already wait anew.
ENQUEUE_DOCUMENT = """
WITH mine AS (
    SELECT chunk.id, chunk.document_id, chunk.collection_id, chunk.tokens, chunk.rendered_hash,
        (SELECT paused FROM documents_document document WHERE document.id = chunk.document_id)
    FROM documents_chunk chunk
    WHERE chunk.document_id = ANY(%(documents)s) AND chunk.chunking_id + 0 = %(chunking)s
), jobs AS (
    INSERT INTO indexes_embeddingjob AS job
        (version_id, chunk_id, collection_id, tokens, paused, attempts, error, created_at)
    SELECT %(version)s, id, collection_id, tokens, paused, 0, '', now() FROM mine
    WHERE (SELECT known.content_hash FROM {table} known WHERE known.chunk_id = mine.id)
        IS DISTINCT FROM sha256(%(prompt)s::bytea || mine.rendered_hash)
    ORDER BY id
    ON CONFLICT (version_id, chunk_id) DO UPDATE SET paused = excluded.paused, attempts = 0, error = '',
        lease_until = CASE WHEN job.error = '' AND job.attempts < %(most_attempts)s THEN job.lease_until END
    RETURNING chunk_id
)
SELECT mine.document_id, count(*), count(jobs.chunk_id)
FROM mine LEFT JOIN jobs ON jobs.chunk_id = mine.id GROUP BY mine.document_id
"""

# A portion at a time, so that no transaction is long: of the next chunks, those that lack vector and job.
ENQUEUE_MISSING = """
WITH portion AS MATERIALIZED (
    SELECT id, document_id, collection_id, tokens, rendered_hash FROM documents_chunk
    WHERE id > %(after)s AND chunking_id + 0 = %(chunking)s ORDER BY id LIMIT %(most)s
), jobs AS (
    INSERT INTO indexes_embeddingjob
        (version_id, chunk_id, collection_id, tokens, paused, attempts, error, created_at)
    SELECT %(version)s, chunk.id, chunk.collection_id, chunk.tokens, document.paused, 0, '', now()
    FROM portion chunk JOIN documents_document document ON document.id = chunk.document_id
    WHERE {belongs}
        AND (SELECT known.content_hash FROM {table} known WHERE known.chunk_id = chunk.id)
            IS DISTINCT FROM sha256(%(prompt)s::bytea || chunk.rendered_hash)
    ORDER BY chunk.id
    ON CONFLICT (version_id, chunk_id) DO NOTHING RETURNING 1
)
SELECT (SELECT max(id) FROM portion), (SELECT count(*) FROM jobs)
"""

CHUNKS = "SELECT count(*) FROM documents_chunk chunk WHERE chunk.chunking_id = %(chunking)s AND {belongs}"

LOCK = """
SELECT id FROM indexes_embeddingjob WHERE id = ANY(%(jobs)s) ORDER BY id FOR UPDATE
"""

# A while longer after each failure: 20, 40, 80, 160 seconds.
POSTPONE = """
WITH locked AS (SELECT id FROM indexes_embeddingjob WHERE id = ANY(%(jobs)s) ORDER BY id FOR UPDATE)
UPDATE indexes_embeddingjob SET error = %(error)s,
    lease_until = CASE WHEN attempts < 5 THEN now() + interval '10 s' * 2 ^ attempts END
WHERE id = ANY(ARRAY(SELECT id FROM locked)) RETURNING id
"""

RELEASE = """
WITH locked AS (SELECT id FROM indexes_embeddingjob WHERE id = ANY(%(jobs)s) ORDER BY id FOR UPDATE)
UPDATE indexes_embeddingjob SET lease_until = NULL, attempts = greatest(attempts - 1, 0)
WHERE id = ANY(ARRAY(SELECT id FROM locked))
"""

REMOVE = """
WITH locked AS (SELECT id FROM indexes_embeddingjob WHERE id = ANY(%(jobs)s) ORDER BY id FOR UPDATE)
DELETE FROM indexes_embeddingjob WHERE id = ANY(ARRAY(SELECT id FROM locked)) RETURNING id
"""


@dataclass(frozen=True)
class Input:
    """One leased job: what is to be embedded, for which chunk."""

    job_id: int
    chunk_id: int
    collection_id: int
    document_id: UUID
    rendered: str
    content_hash: bytes
    tokens: int


class Counts(NamedTuple):
    """How many chunks a document has, and how many of them wait for their vector."""

    chunks: int
    waiting: int


def content_hash(model: EmbeddingModel, rendered_hash: bytes | memoryview) -> bytes:
    """The hash of what the model reads: its document prompt and the rendered chunk."""
    return hashlib.sha256(model.document_prompt.encode() + bytes(rendered_hash)).digest()


def lease(version: IndexVersion, most: int = MOST) -> list[Input]:
    """Takes up to `most` jobs for this worker, for a while; a worker that dies lets them run out.

    Collections take turns: each that waits gets an equal part, and what one does not need goes to the
    others. Inside a collection the oldest jobs come first. One at which workers ended is leased alone.
    """
    taken = take_in_turns(version, most)
    found = Chunk.objects.filter(pk__in=taken).values_list(
        "pk", "collection_id", "document_id", "document__title", "heading_path", "text", "rendered_hash", "tokens"
    )  # fmt: skip
    inputs = [
        Input(
            taken[chunk], chunk, collection, document,
            render(title, heading_path, text), content_hash(version.model, rendered_hash), tokens,
        )
        for chunk, collection, document, title, heading_path, text, rendered_hash, tokens in found
    ]  # fmt: skip
    # The audit may write a job for a chunk that is being deleted: no trigger removes that one.
    remove(set(taken.values()) - {given.job_id for given in inputs})
    return inputs


def take_in_turns(version: IndexVersion, most: int) -> dict[int, int]:
    """The jobs of a new lease, by chunk."""
    until = timezone.now() + EmbeddingJob.LEASE
    taken: dict[int, int] = {}
    hungry = turns(version, most)
    while hungry and len(taken) < most:
        left = most - len(taken)
        quota = max(left // len(hungry), 1)
        given = {
            "version": version.pk, "collections": hungry[:left], "quota": quota, "until": until,
            "first": not taken,
        }  # fmt: skip
        rows = rows_of(TAKE, given)
        taken |= {chunk: job for _, chunk, job, _ in rows}
        if any(alone for *_, alone in rows):
            break
        served = Counter(collection for collection, *_ in rows)
        hungry = [collection for collection in hungry if served[collection] == quota]
    return taken


_served_last: dict[int, int] = {}


def turns(version: IndexVersion, most: int) -> list[int]:
    """Up to `most` collections with jobs, beginning after the one that this process served last."""
    last = _served_last.get(version.pk, 0)
    given = {"version": version.pk, "most": most}
    found = [collection for (collection,) in rows_of(COLLECTIONS, given | {"after": last})]
    if len(found) < most and last:
        first = [collection for (collection,) in rows_of(COLLECTIONS, given | {"after": 0})]
        found += [collection for collection in first if collection <= last][: most - len(found)]
    if found:
        _served_last[version.pk] = found[-1]
    return found


def enqueue(version: IndexVersion, documents: Sequence[Document], chunking: Chunking) -> dict[UUID, Counts]:
    """Writes a job for each of the documents' chunks without the right vector; what failed before starts anew.

    Documents that have no chunks have no counts.
    """
    rows = rows_of(
        sql.SQL(ENQUEUE_DOCUMENT).format(table=sql.Identifier(version.table)),
        {
            "version": version.pk,
            "documents": [document.pk for document in documents],
            "chunking": chunking.pk,
            "prompt": version.model.document_prompt.encode(),
            "most_attempts": EmbeddingJob.MOST_ATTEMPTS,
        },
    )
    return {document: Counts(chunks, waiting) for document, chunks, waiting in rows}


def enqueue_missing(version: IndexVersion) -> int:
    """The audit: writes a job for every chunk without the right vector and without a job. Returns how many.

    Portion by portion, in transactions of their own unless the caller has one.
    """
    after: int | None = 0
    written = 0
    while after is not None:
        after, count = enqueue_portion(version, after)
        written += count
    return written


def enqueue_portion(version: IndexVersion, after: int, most: int = PORTION) -> tuple[int | None, int]:
    """The same for the next chunks with ids greater than `after`.

    Returns the last of them, None if there was none, and how many jobs were written.
    """
    given = {
        "version": version.pk,
        "chunking": version.chunking_id,
        **placing.given(version.index),
        "prompt": version.model.document_prompt.encode(),
        "after": after,
        "most": most,
    }
    statement = sql.SQL(ENQUEUE_MISSING).format(
        table=sql.Identifier(version.table), belongs=sql.SQL(placing.belongs("chunk"))
    )
    ((last, count),) = rows_of(statement, given)
    return last, int(count)


def chunks_of(version: IndexVersion) -> int:
    """How many chunks there are for the version."""
    statement = sql.SQL(CHUNKS).format(belongs=sql.SQL(placing.belongs("chunk")))
    ((count,),) = (*rows_of(statement, placing.given(version.index) | {"chunking": version.chunking_id}),)
    return int(count)


def remove(job_ids: Several[int]) -> set[int]:
    """Removes the jobs; those that this call removed, nobody else can finish."""
    return {job for (job,) in rows_of(REMOVE, {"jobs": list(job_ids)})} if job_ids else set()


def locked(job_ids: Several[int]) -> set[int]:
    """Those of the jobs that are still there; until the commit nobody else can finish them."""
    return {job for (job,) in rows_of(LOCK, {"jobs": list(job_ids)})}


def release(inputs: Iterable[Input]) -> None:
    """Gives leased jobs back as if they had not been taken."""
    jobs = [given.job_id for given in inputs]
    if jobs:
        with connection.cursor() as cursor:
            cursor.execute(RELEASE, {"jobs": jobs})


def postpone(inputs: Sequence[Input], error: str) -> set[int]:
    """Notes the failure and waits longer each time; after the last attempt for good.

    So a model that is away for minutes costs time, not the documents that waited for it.
    Returns the jobs concerned: those of chunks deleted meanwhile are gone.
    """
    given = {"jobs": [given.job_id for given in inputs], "error": error}
    return {job for (job,) in rows_of(POSTPONE, given)}


def has_work(version: IndexVersion) -> bool:
    """Whether a job waits that no living lease covers."""
    jobs = EmbeddingJob.objects.filter(version=version, paused=False, attempts__lt=EmbeddingJob.MOST_ATTEMPTS)
    return jobs.filter(lease_until=None).exists() or jobs.filter(lease_until__lt=timezone.now()).exists()


def rows_of(statement: str | sql.Composed, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
