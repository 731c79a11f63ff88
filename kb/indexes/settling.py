"""What the queue means for documents: their embed stage, and when they are ready or have failed.

Only the live version of a document's index counts: a version that is being built holds no document up.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from kb.documents import stages
from kb.documents.models import Document, DocumentStage
from kb.documents.stages import Entry
from kb.indexes.embedding_queue import Counts
from kb.indexes.models import EmbeddingJob, IndexVersion

MOST_GIVEN_UP = 1000
ABANDONED = "the worker ended several times while it was at it. Look into its log, then retry."

# The queue is empty at one time and holds a hundred thousand jobs at another, and its statistics are of any
# time. So the statements leave no choice: what must not be looked up by is no bare column, what is looked up
# is an array of keys, and a probe is a scalar subquery, of which no join over the whole corpus can be made.

# The last chunk is looked at first, since the queue ends with it.
SETTLE = """
WITH complete AS (
    SELECT document.id FROM documents_document document
    WHERE {which} AND (
        SELECT 1 FROM indexes_index index JOIN indexes_indexversion live ON live.id = index.live_version_id
        CROSS JOIN LATERAL (
            SELECT 1 FROM documents_chunk chunk
            WHERE chunk.document_id = document.id AND chunk.chunking_id = live.chunking_id AND (
                SELECT 1 FROM indexes_embeddingjob job
                WHERE job.chunk_id = chunk.id AND job.version_id + 0 = live.id LIMIT 1
            ) IS NOT NULL
            ORDER BY chunk.ordinal DESC LIMIT 1
        ) waiting
        WHERE index.id = coalesce(
            (SELECT index_id FROM indexes_indexedcollection WHERE collection_id = document.collection_id),
            (SELECT id FROM indexes_index WHERE is_default)
        )
    ) IS NULL
    ORDER BY document.id FOR NO KEY UPDATE OF document
)
UPDATE documents_document SET state = 'ready', updated_at = %(now)s
WHERE id = ANY(ARRAY(SELECT id FROM complete)) RETURNING id
"""
SETTLE_THESE = SETTLE.format(which="document.id = ANY(%(documents)s) AND document.state || '' = 'embedding'")
SETTLE_ALL = SETTLE.format(which="document.state = 'embedding'")

ADVANCE = """
WITH locked AS (
    SELECT id FROM documents_documentstage
    WHERE document_id = ANY(%(documents)s) AND stage || '' = 'embed' ORDER BY document_id FOR NO KEY UPDATE
)
UPDATE documents_documentstage stage SET done = least(stage.done + given.done, stage.total),
    reused = least(stage.reused + given.reused, stage.total), worker = %(worker)s, heartbeat_at = %(now)s
FROM unnest(%(documents)s::uuid[], %(done)s::bigint[], %(reused)s::bigint[]) AS given (id, done, reused)
WHERE stage.document_id = ANY(%(documents)s) AND stage.stage || '' = 'embed' AND stage.state || '' = 'running'
    AND given.id = stage.document_id AND (SELECT count(*) FROM locked) > 0
    AND EXISTS (SELECT FROM indexes_index WHERE live_version_id = %(version)s)
"""


def begin(documents: Iterable[Document], queued: Mapping[UUID, Counts]) -> None:
    """Inside the transaction that writes the jobs: so many chunks of each document are still to be embedded."""
    stages.write([begun(document, queued.get(document.pk, Counts(0, 0))) for document in documents])


def begun(document: Document, counts: Counts) -> Entry:
    there = counts.chunks - counts.waiting
    file_hash = document.current.sha256 if document.current else ""
    embed = DocumentStage.Stage.EMBED
    return Entry(document.pk, embed, there, counts.chunks, reused=there, content_hash=file_hash)


def advance(version: IndexVersion, done: Mapping[UUID, tuple[int, int]]) -> None:
    """So many more chunks of each document have their vector now, so many of these without work.

    Not in the transaction that writes the vectors: whoever cuts a document anew holds its stage first
    and waits for its chunks then, a writer of vectors the other way round.
    """
    given: dict[str, Any] = {
        "documents": list(done),
        "done": [count for count, _ in done.values()],
        "reused": [reused for _, reused in done.values()],
        "worker": stages.worker(),
        "version": version.pk,
        "now": timezone.now(),
    }
    with connection.cursor() as cursor:
        cursor.execute(ADVANCE, given)


@transaction.atomic
def settle(document_ids: Iterable[UUID] | None = None) -> int:
    """Marks documents ready that have no job left for their live version; of `document_ids`, or of all.

    Runs after the commit that removed the jobs: of two workers that finish a document at the same
    time, the later one sees that nothing is left. What it costs goes by these documents, not by the corpus.
    """
    given: dict[str, Any] = {"now": timezone.now(), "documents": list(document_ids or ())}
    with connection.cursor() as cursor:
        cursor.execute(SETTLE_ALL if document_ids is None else SETTLE_THESE, given)
        ready = [document for (document,) in cursor.fetchall()]
    stages.finish_many(DocumentStage.Stage.EMBED, ready)
    return len(ready)


def tried(job_ids: Iterable[int], error: str) -> None:
    """These jobs could not be done: their documents are at the next attempt, or after the last one have failed."""
    jobs = EmbeddingJob.objects.filter(pk__in=job_ids, version=F("version__index__live_version"))
    attempts: dict[UUID, int] = {}
    for document, made in jobs.values_list("chunk__document", "attempts"):
        attempts[document] = max(made, attempts.get(document, 0))
    over = {document for document, made in attempts.items() if made >= EmbeddingJob.MOST_ATTEMPTS}
    for document in attempts.keys() - over:
        attempt = attempts[document] + 1
        embed_stages().filter(document=document, attempt__lt=attempt).update(attempt=attempt)
    failed(over, error)


@transaction.atomic
def failed(document_ids: set[UUID], error: str) -> None:
    documents = Document.objects.filter(pk__in=document_ids, state=Document.State.EMBEDDING)
    ids = list(documents.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
    reason, now = f"Embedding failed: {error}", timezone.now()
    Document.objects.filter(pk__in=ids).update(
        state=Document.State.FAILED, error_code="embedding", error=reason, updated_at=now
    )
    embed_stages().filter(document__in=ids).update(
        state=DocumentStage.State.FAILED, error=reason, heartbeat_at=now, finished_at=now
    )


def give_up_abandoned() -> int:
    """Gives up jobs whose last attempt ended with its worker, which could not say so. Returns how many."""
    abandoned = EmbeddingJob.objects.filter(
        attempts__gte=EmbeddingJob.MOST_ATTEMPTS, lease_until__lt=timezone.now()
    ).order_by("pk")
    jobs = list(abandoned.values_list("pk", flat=True)[:MOST_GIVEN_UP])
    EmbeddingJob.objects.filter(pk__in=jobs).update(error=ABANDONED, lease_until=None)
    tried(jobs, ABANDONED)
    return len(jobs)


def embed_stages() -> QuerySet[DocumentStage]:
    return DocumentStage.objects.filter(stage=DocumentStage.Stage.EMBED, state=DocumentStage.State.RUNNING)
