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
from kb.documents.models import Chunking, Document
from kb.indexes import placing
from kb.indexes.models import CuttingJob, IndexVersion

logger = logging.getLogger(__name__)

PORTION = 1000  # documents that one statement looks at
FIRST = UUID(int=0)

# Those with chunks of today's text in another chunking, and none, or some of an older text, in the new one.
ENQUEUE = """
WITH portion AS MATERIALIZED (
    SELECT id, current_id, collection_id FROM documents_document WHERE id > %(after)s ORDER BY id LIMIT %(most)s
), jobs AS (
    INSERT INTO indexes_cuttingjob (chunking_id, document_id, attempts, error)
    SELECT %(chunking)s, document.id, 0, '' FROM portion document
    WHERE {belongs}
        AND EXISTS (
            SELECT FROM documents_chunk old WHERE old.document_id = document.id
                AND old.chunking_id <> %(chunking)s AND old.revision_id = document.current_id
        )
        AND NOT EXISTS (
            SELECT FROM documents_chunk new WHERE new.document_id = document.id
                AND new.chunking_id = %(chunking)s AND new.revision_id = document.current_id
        )
    ORDER BY document.id
    ON CONFLICT (chunking_id, document_id) DO NOTHING RETURNING 1
)
SELECT (SELECT id FROM portion ORDER BY id DESC LIMIT 1), (SELECT count(*) FROM jobs)
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
        cursor.execute(ENQUEUE.format(belongs=placing.belongs("document")), given)
        last, count = cursor.fetchone()
    return last, int(count)


def waiting(version: IndexVersion) -> "QuerySet[CuttingJob]":
    """The documents that are still to be cut, or are being cut."""
    return CuttingJob.objects.filter(chunking=version.chunking_id, attempts__lt=CuttingJob.MOST_ATTEMPTS)


def waits(version: IndexVersion) -> bool:
    return waiting(version).exists()


def has_work(version: IndexVersion) -> bool:
    """Whether a document waits that no living lease covers."""
    return waiting(version).filter(Q(lease_until=None) | Q(lease_until__lt=timezone.now())).exists()


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
        CuttingJob.objects.filter(pk=job.pk).update(attempts=CuttingJob.MOST_ATTEMPTS, error="")
    elif written is not None:
        job.delete()
    else:
        CuttingJob.objects.filter(pk=job.pk).update(attempts=job.attempts - 1, lease_until=None)


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


def failures(version: IndexVersion) -> tuple[int, str]:
    """How many documents could not be cut, and why the first of them."""
    jobs = CuttingJob.objects.filter(chunking=version.chunking_id, attempts__gte=CuttingJob.MOST_ATTEMPTS)
    failed = jobs.exclude(error="").order_by("pk")
    first = failed.first()
    return (failed.count(), first.error) if first else (0, "")


def forget(version: IndexVersion) -> None:
    """Marks and failures: they are looked for anew."""
    jobs = CuttingJob.objects.filter(chunking=version.chunking_id)
    jobs.filter(attempts__gte=CuttingJob.MOST_ATTEMPTS).delete()
