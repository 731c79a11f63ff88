"""Cuts the documents of an index anew, by another chunking, beside the chunks that they are searched by.

What is to be cut is a row of a queue of its own, for each document; a document's new chunks, their postings
and embedding jobs are written in one transaction, so that it may be cut short anywhere and run twice.
"""

import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from kb.core.holding import held
from kb.core.models import Collection
from kb.documents import chunks
from kb.documents.chunks import Cut
from kb.documents.models import Chunk, Chunking, Document
from kb.indexes import placing
from kb.indexes.models import CuttingJob, IndexVersion

logger = logging.getLogger(__name__)

PORTION = 1000  # documents that one statement looks at
FIRST = UUID(int=0)
NO_CHUNK = "it has words, but gives no chunk of this size"
ABANDONED = "the worker ended several times while it was at it"

# The condition, in SQL, that a document lacks chunks in a chunking: it has none of today's text there, though it has
# some elsewhere or is said to be ready, or there are gaps between those that it has. A cancelled one may have gaps.
UNCUT = """(
    document.current_id IS NOT NULL AND (
        NOT EXISTS (
            SELECT FROM documents_chunk new WHERE new.document_id = document.id
                AND new.chunking_id = %(chunking)s AND new.revision_id = document.current_id
        ) AND (
            document.state = 'ready' OR EXISTS (
                SELECT FROM documents_chunk old WHERE old.document_id = document.id
                    AND old.chunking_id <> %(chunking)s AND old.revision_id = document.current_id
            )
        )
        OR document.state IN ('ready', 'embedding') AND (
            SELECT count(*) <= max(ordinal) FROM documents_chunk here
            WHERE here.document_id = document.id AND here.chunking_id = %(chunking)s
        )
    )
)"""
ENQUEUE = """
WITH portion AS MATERIALIZED (
    SELECT id, current_id, collection_id, state FROM documents_document
    WHERE id > %(after)s ORDER BY id LIMIT %(most)s
), jobs AS (
    INSERT INTO indexes_cuttingjob (chunking_id, document_id, attempts, error)
    SELECT %(chunking)s, document.id, 0, '' FROM portion document
    WHERE {belongs} AND {uncut}
    ORDER BY document.id
    ON CONFLICT (chunking_id, document_id) DO NOTHING RETURNING 1
)
SELECT (SELECT id FROM portion ORDER BY id DESC LIMIT 1), (SELECT count(*) FROM jobs)
"""
# By collection; what was found to have no words is not among them, and a collection on its way here comes by and by.
LACKING = """
SELECT document.collection_id, count(*), count(*) FILTER (WHERE EXISTS (
    SELECT FROM indexes_cuttingjob job WHERE job.document_id = document.id AND job.chunking_id = %(chunking)s
        AND (job.attempts < %(most)s OR job.lease_until >= now())
))
FROM documents_document document
WHERE {belongs} AND {uncut} AND NOT EXISTS (
    SELECT FROM indexes_cuttingjob mark WHERE mark.document_id = document.id AND mark.chunking_id = %(chunking)s
        AND mark.attempts >= %(most)s AND mark.error = '' AND mark.lease_until IS NULL
) AND NOT EXISTS (
    SELECT FROM indexes_collectionmove moving
    WHERE moving.collection_id = document.collection_id AND moving.index_id = %(index)s
)
GROUP BY document.collection_id ORDER BY document.collection_id
"""
CLAIM = """
UPDATE indexes_cuttingjob SET lease_until = now() + %(lease)s, attempts = attempts + 1 WHERE id = (
    SELECT id FROM indexes_cuttingjob
    WHERE chunking_id = %(chunking)s AND attempts < %(most)s AND (lease_until IS NULL OR lease_until < now())
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id
"""


def needed(version: IndexVersion) -> bool:
    """Whether the version's chunking is another one than that of what serves."""
    live = version.index.live_version
    return live is not None and live.chunking_id != version.chunking_id


def enqueue_portion(version: IndexVersion, after: UUID, most: int = PORTION) -> tuple[UUID | None, int]:
    """Writes jobs for the next documents with ids greater than `after`; jobs that are there stay.

    Returns the last of them, None if there was none, and how many jobs were written.
    """
    given: dict[str, Any] = {
        "chunking": version.chunking_id,
        **placing.given(version.index),
        "after": after,
        "most": most,
    }
    with connection.cursor() as cursor:
        cursor.execute(ENQUEUE.format(belongs=placing.belongs("document"), uncut=UNCUT), given)
        last, count = cursor.fetchone()
    return last, int(count)


def enqueue_missing(version: IndexVersion) -> int:
    """The audit: writes a job for every document that lacks chunks and has no job. Returns how many."""
    after: UUID | None = FIRST
    written = 0
    while after is not None:
        after, count = enqueue_portion(version, after)
        written += count
    return written


def lacking(version: IndexVersion) -> dict[int, tuple[int, int]]:
    """By collection, how many documents lack chunks that the version should have, and of these how many wait to
    be cut. The version's index must be at hand."""
    given: dict[str, Any] = {
        "chunking": version.chunking_id,
        **placing.given(version.index),
        "most": CuttingJob.MOST_ATTEMPTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(LACKING.format(belongs=placing.belongs("document"), uncut=UNCUT), given)
        return {collection: (count, waiting) for collection, count, waiting in cursor.fetchall()}


def jobs_of(version: IndexVersion, collection_id: int | None = None) -> "QuerySet[CuttingJob]":
    """Of the version's chunking; of one collection, or of all."""
    jobs = CuttingJob.objects.filter(chunking=version.chunking_id)
    return jobs if collection_id is None else jobs.filter(document__collection=collection_id)


def waiting(version: IndexVersion, collection_id: int | None = None) -> "QuerySet[CuttingJob]":
    """The documents that are still to be cut, or are being cut, the last attempt included."""
    at_it = Q(attempts__lt=CuttingJob.MOST_ATTEMPTS) | Q(lease_until__gte=timezone.now())
    return jobs_of(version, collection_id).filter(at_it)


def waits(version: IndexVersion, collection_id: int | None = None) -> bool:
    return waiting(version, collection_id).exists()


def has_work(version: IndexVersion) -> bool:
    """Whether a document waits that no living lease covers."""
    jobs = jobs_of(version).filter(attempts__lt=CuttingJob.MOST_ATTEMPTS)
    return jobs.filter(Q(lease_until=None) | Q(lease_until__lt=timezone.now())).exists()


def cut_for(version: IndexVersion, seconds: float, stopping: Callable[[], object] = bool) -> bool:
    """Cuts documents for about `seconds`, or until `stopping()`. Returns whether there may be more to do."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stopping():
        job = claim(version.chunking_id)
        if job is None:
            return False
        cut(job)
    return True


def claim(chunking_id: int) -> CuttingJob | None:
    given: dict[str, Any] = {
        "chunking": chunking_id,
        "lease": CuttingJob.LEASE,
        "most": CuttingJob.MOST_ATTEMPTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, given)
        row = cursor.fetchone()
    if row is None:
        return None
    return CuttingJob.objects.select_related("chunking", "document__current").filter(pk=row[0]).first()


def cut(job: CuttingJob) -> None:
    """Cuts one document. Whatever goes wrong is this document's alone."""
    try:
        written = rewritten(job.document, job.chunking)
    except Exception as error:  # the rim: whatever an odd text does to the chunker
        logger.exception("Document %s could not be cut", job.document_id)
        CuttingJob.objects.filter(pk=job.pk).update(error=str(error), lease_until=None)
        return
    if written == 0:  # it stays as a mark, or it would be looked for again
        why = NO_CHUNK if cut_elsewhere(job) else ""
        CuttingJob.objects.filter(pk=job.pk).update(
            attempts=CuttingJob.MOST_ATTEMPTS, error=why, lease_until=None
        )
    elif written is not None:
        job.delete()
    else:
        CuttingJob.objects.filter(pk=job.pk).update(attempts=job.attempts - 1, lease_until=None)


def cut_elsewhere(job: CuttingJob) -> bool:
    """Whether the same text has chunks in another chunking: then it has words."""
    others = Chunk.objects.filter(document=job.document_id, revision=job.document.current_id)
    return others.exclude(chunking=job.chunking_id).exists()


def rewritten(document: Document, chunking: Chunking) -> int | None:
    """How many chunks the document has in the chunking now; None where its text was replaced meanwhile."""
    revision = document.current
    if revision is None:
        return 0
    pieces = chunks.cut(revision, chunking, document.title)
    with transaction.atomic():
        held(Collection, [document.collection_id])
        same = Document.objects.select_for_update(no_key=True).filter(pk=document.pk, current=revision)
        locked = same.first()
        if locked is None:
            return None
        chunks.write(locked.collection_id, chunking, [Cut(locked, revision, pieces)])
    return len(pieces)


def failures(version: IndexVersion, collection_id: int | None = None) -> tuple[int, str]:
    """How many documents could not be cut, and why the first of them.

    A worker that ended at the last attempt could not say why: its lease is over.
    """
    jobs = jobs_of(version, collection_id).filter(attempts__gte=CuttingJob.MOST_ATTEMPTS)
    failed = jobs.filter(Q(lease_until=None) & ~Q(error="") | Q(lease_until__lt=timezone.now())).order_by(
        "pk"
    )
    first = failed.first()
    return (failed.count(), first.error or ABANDONED) if first else (0, "")


def forget(version: IndexVersion) -> None:
    """Marks and failures: they are looked for anew."""
    jobs = CuttingJob.objects.filter(chunking=version.chunking_id)
    jobs.filter(attempts__gte=CuttingJob.MOST_ATTEMPTS).delete()
