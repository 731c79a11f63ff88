"""Carries out in the embedding queue what people do to documents: pause, resume, cancel."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from kb.core.models import Collection
from kb.documents.models import Chunk, Document
from kb.documents.signals import replacement_cancelled, work_cancelled, work_paused
from kb.indexes import placing, settling
from kb.indexes.models import EmbeddingJob, IndexVersion
from kb.indexes.tasks import wake_embedding_on_commit


def connect() -> None:
    work_paused.connect(pause_jobs)
    work_cancelled.connect(drop_unfinished)
    replacement_cancelled.connect(settle_kept)


def pause_jobs(
    *, documents: QuerySet[Document], paused: bool, collection: Collection | None, **_: Any
) -> None:
    """Has the documents' jobs wait or go on; of a whole collection all jobs."""
    if collection is not None:
        jobs = EmbeddingJob.objects.filter(collection=collection)
    else:
        jobs = EmbeddingJob.objects.filter(chunk__document__in=documents)
    in_order(jobs.filter(paused=not paused)).update(paused=paused)
    if not paused:
        for version in IndexVersion.objects.maintained():
            wake_embedding_on_commit(version.pk)


def in_order(jobs: QuerySet[EmbeddingJob]) -> QuerySet[EmbeddingJob]:
    """The same jobs, locked in the order in which workers lease them."""
    return EmbeddingJob.objects.filter(pk__in=jobs.order_by("pk").select_for_update(of=["self"]).values("pk"))


def drop_unfinished(*, documents: QuerySet[Document], **_: Any) -> None:
    """Deletes the chunks that wait for their vector of the live version; a trigger takes jobs and postings along.

    A build has jobs for nearly all chunks, also for those that are searched.
    """
    for collection_id in documents.order_by().values_list("collection", flat=True).distinct():
        unfinished = EmbeddingJob.objects.filter(
            chunk__document__in=documents, version=placing.live_of(collection_id), collection=collection_id
        )
        Chunk.objects.filter(pk__in=unfinished.values("chunk")).delete()


def settle_kept(*, document_ids: list[UUID], **_: Any) -> None:
    """What the documents have may be all embedded, and they ready; else it is tried again."""
    EmbeddingJob.objects.filter(chunk__document__in=document_ids).update(attempts=0, lease_until=None)
    settling.settle(set(document_ids))
