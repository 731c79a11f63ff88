"""The embedding queue: lease jobs, make vectors, write both in one transaction; repair it by audit."""

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import numpy as np
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone
from numpy.typing import NDArray
from psycopg import sql

from kb.core.beating import beat
from kb.core.holding import held
from kb.documents.models import Chunk, Document
from kb.indexes import embedding_table, providers
from kb.indexes.embedding_table import Origin
from kb.indexes.models import EmbeddingJob, EmbeddingModel, IndexVersion
from retrieval.chunking import render
from retrieval.embedders import DescribedEmbedder

logger = logging.getLogger(__name__)

BATCH = 64
MOST_GIVEN_UP = 1000
ABANDONED = "the worker ended several times while it was at it. Look into its log, then retry."

LEASE = """
WITH picked AS (
    SELECT id FROM indexes_embeddingjob
    WHERE version_id = %s AND attempts < %s AND (lease_until IS NULL OR lease_until < now())
    ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE indexes_embeddingjob job SET lease_until = %s, attempts = attempts + 1
FROM picked WHERE job.id = picked.id RETURNING job.id, job.chunk_id
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


def content_hash(model: EmbeddingModel, rendered_hash: bytes | memoryview) -> bytes:
    """The hash of what the model reads: its document prompt and the rendered chunk."""
    return hashlib.sha256(model.document_prompt.encode() + bytes(rendered_hash)).digest()


def embed_for(version: IndexVersion, seconds: float, stopping: Callable[[], object] = bool) -> bool:
    """Works on the version's queue for about `seconds`, or until `stopping()` between two batches.

    Returns whether there may be more to do.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stopping():
        inputs = lease(version)
        if not inputs:
            return False
        embed_batch(version, inputs)
    return True


def embed_batch(
    version: IndexVersion, inputs: Sequence[Input], embedder: DescribedEmbedder | None = None
) -> None:
    """Embeds leased inputs and writes them; one bad input does not hold up the others."""
    embedder = embedder or providers.embedder(version.model)
    try:
        vectors = embedded(embedder, version, inputs)
    except Exception as error:
        if len(inputs) > 1:
            logger.warning(
                "A batch of %s could not be embedded (%s); trying one at a time", len(inputs), error
            )
            for single in inputs:
                embed_batch(version, [single], embedder)
            return
        logger.exception("Chunk %s could not be embedded", inputs[0].chunk_id)
        give_up(inputs[0], str(error))
        return
    write(version, inputs, vectors, origin(embedder))
    settle({given.document_id for given in inputs})


def embedded(
    embedder: DescribedEmbedder, version: IndexVersion, inputs: Sequence[Input]
) -> NDArray[np.float32]:
    vectors = embedder.embed([given.rendered for given in inputs], "document")
    if vectors.shape != (len(inputs), version.dimensions) or not np.isfinite(vectors).all():
        raise ValueError(
            f"{version.model} gave {vectors.shape} for {len(inputs)} texts, or numbers that are none"
        )
    return vectors


def lease(version: IndexVersion, most: int = BATCH) -> list[Input]:
    """Takes up to `most` jobs for this worker, for a while; a worker that dies lets them run out."""
    until = timezone.now() + EmbeddingJob.LEASE
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LEASE, [version.pk, EmbeddingJob.MOST_ATTEMPTS, most, until])
        jobs = {chunk_id: job_id for job_id, chunk_id in cursor.fetchall()}
    chunks = list(Chunk.objects.filter(pk__in=jobs).select_related("document"))
    # The audit may write a job for a chunk that is being deleted: no trigger removes that one.
    gone = set(jobs) - {chunk.pk for chunk in chunks}
    EmbeddingJob.objects.filter(pk__in=[jobs[chunk_id] for chunk_id in gone]).delete()
    return [
        Input(
            jobs[chunk.pk],
            chunk.pk,
            chunk.collection_id,
            chunk.document_id,
            render(chunk.document.title, chunk.heading_path, chunk.text),
            content_hash(version.model, chunk.rendered_hash),
        )
        for chunk in chunks
    ]


@transaction.atomic
def write(version: IndexVersion, inputs: Sequence[Input], vectors: NDArray[np.float32], made: Origin) -> None:
    """Vectors in, jobs out. Chunks deleted meanwhile are left out; the others cannot go before the commit."""
    alive = held(Chunk, [given.chunk_id for given in inputs])
    kept = [place for place, given in enumerate(inputs) if given.chunk_id in alive]
    if kept:
        rows = [
            (inputs[place].chunk_id, inputs[place].collection_id, inputs[place].content_hash)
            for place in kept
        ]
        embedding_table.write(version, rows, vectors[kept], made)
    EmbeddingJob.objects.filter(pk__in=[given.job_id for given in inputs]).delete()
    beat("embed")


def origin(embedder: DescribedEmbedder) -> Origin:
    card = embedder.describe()
    return Origin(f"{socket.gethostname()}:{os.getpid()}", card.backend, card.number_format)


def give_up(given: Input, error: str) -> None:
    """Notes the failure and waits longer each time; after the last attempt the document has failed.

    So a model that is away for minutes costs time, not the documents that waited for it.
    """
    job = EmbeddingJob.objects.filter(pk=given.job_id).first()
    if job is None:  # the chunk was deleted meanwhile
        return
    last = job.attempts >= EmbeddingJob.MOST_ATTEMPTS
    job.error, job.lease_until = error, None if last else timezone.now() + pause(job.attempts)
    job.save(update_fields=["error", "lease_until"])
    if last:
        failed({given.document_id}, error)


def pause(attempts: int) -> timedelta:
    """How long to wait after so many failed attempts: 20, 40, 80, 160 seconds."""
    return timedelta(seconds=10 * 2**attempts)


def give_up_abandoned() -> int:
    """Gives up jobs whose last attempt ended with its worker, which could not say so. Returns how many."""
    abandoned = EmbeddingJob.objects.select_related("chunk").filter(
        attempts__gte=EmbeddingJob.MOST_ATTEMPTS, lease_until__lt=timezone.now()
    )
    jobs = list(abandoned[:MOST_GIVEN_UP])
    documents = {job.chunk.document_id for job in jobs}
    EmbeddingJob.objects.filter(pk__in=[job.pk for job in jobs]).update(error=ABANDONED, lease_until=None)
    failed(documents, ABANDONED)
    return len(jobs)


def failed(document_ids: set[UUID], error: str) -> None:
    Document.objects.filter(pk__in=document_ids, state=Document.State.EMBEDDING).update(
        state=Document.State.FAILED, error_code="embedding", error=f"Embedding failed: {error}"
    )


def settle(document_ids: set[UUID] | None = None) -> int:
    """Marks documents ready that have no job left for a live version; of `document_ids`, or of all.

    Runs after the commit that removed the jobs: of two workers that finish a document at the same
    time, the later one sees that nothing is left.
    """
    waiting = EmbeddingJob.objects.filter(
        chunk__document=OuterRef("pk"), version=F("version__index__live_version")
    )
    documents = Document.objects.filter(~Exists(waiting), state=Document.State.EMBEDDING)
    if document_ids is not None:
        documents = documents.filter(pk__in=document_ids)
    return documents.update(state=Document.State.READY, updated_at=timezone.now())


def enqueue_missing(version: IndexVersion) -> int:
    """The audit: writes a job for every chunk without the right vector and without a job. Returns how many."""
    statement = sql.SQL(
        "INSERT INTO indexes_embeddingjob "
        "(version_id, chunk_id, collection_id, tokens, paused, attempts, error, created_at) "
        "SELECT %s, chunk.id, chunk.collection_id, chunk.tokens, document.paused, 0, '', now() "
        "FROM documents_chunk chunk JOIN documents_document document ON document.id = chunk.document_id "
        "LEFT JOIN indexes_indexedcollection placed ON placed.collection_id = chunk.collection_id "
        "WHERE chunk.chunking_id = %s AND coalesce(placed.index_id, %s) = %s AND NOT EXISTS ("
        "SELECT FROM {} v WHERE v.chunk_id = chunk.id AND v.content_hash = sha256(%s::bytea || chunk.rendered_hash)) "
        "ON CONFLICT (version_id, chunk_id) DO NOTHING"
    ).format(sql.Identifier(version.table))
    default = version.index_id if version.index.is_default else None
    with connection.cursor() as cursor:
        prompt = version.model.document_prompt.encode()
        cursor.execute(statement, [version.pk, version.chunking_id, default, version.index_id, prompt])
        return int(cursor.rowcount)


def has_work(version: IndexVersion) -> bool:
    """Whether a job waits that no living lease covers."""
    jobs = EmbeddingJob.objects.filter(version=version, attempts__lt=EmbeddingJob.MOST_ATTEMPTS)
    return jobs.filter(lease_until=None).exists() or jobs.filter(lease_until__lt=timezone.now()).exists()
