"""How far documents are: chunks that the live version can find, out of all."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, F

from kb.documents.models import Chunk, Document
from kb.indexes.models import EmbeddingJob, Index


@dataclass(frozen=True)
class Progress:
    """`done` of `total` chunks are embedded; `fraction` counts parsing as nothing and ready as all."""

    state: str
    label: str
    done: int
    total: int
    fraction: float
    error: str


def progress(documents: Iterable[Document]) -> dict[UUID, Progress]:
    """Each document's progress, by its id, in two queries."""
    listed = list(documents)
    ids = [document.pk for document in listed]
    live = Index.objects.filter(live_version__isnull=False).values("live_version__chunking")
    chunks = Chunk.objects.filter(document__in=ids, chunking__in=live)
    totals = dict(chunks.values_list("document").annotate(Count("pk")))
    jobs = EmbeddingJob.objects.filter(chunk__document__in=ids, version=F("version__index__live_version"))
    waiting = dict(jobs.values_list("chunk__document").annotate(Count("pk")))
    return {
        document.pk: one(document, totals.get(document.pk, 0), waiting.get(document.pk, 0))
        for document in listed
    }


def one(document: Document, total: int, waiting: int) -> Progress:
    done = max(total - waiting, 0)
    fraction = 1.0 if document.state == Document.State.READY else done / total if total else 0.0
    return Progress(
        document.state, Document.State(document.state).label, done, total, fraction, document.error
    )
