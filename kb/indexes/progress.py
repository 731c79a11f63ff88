"""How far documents are: chunks that the live version can find, out of all; and when they will be through."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.utils import timezone

from kb.core.models import Heartbeat
from kb.documents.models import Chunk, Document, DocumentStage
from kb.indexes.models import EmbeddingJob, Index

State = Document.State

UNREAD = (State.QUEUED, State.PARSING)
ENDED = (State.FAILED, State.CANCELLED)
# Chunks of a document of which nothing is known, and of no other beside it.
GUESSED_CHUNKS = 10


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


class Group(NamedTuple):
    """The documents in one state, held back or not: how many, how many are cut, and their chunks."""

    state: str
    paused: bool
    documents: int
    cut: int = 0
    done: int = 0
    total: int = 0

    @property
    def left(self) -> int:
        return max(self.total - self.done, 0)


class Rates(NamedTuple):
    """What all workers together do of late, a second."""

    chunks: float
    documents: float


@dataclass(frozen=True)
class Work:
    """What a set of documents has done and has still to do, in chunks; documents not yet read are estimated."""

    chunks_done: int
    chunks_total: int
    expected: float
    moving: float
    unread: int
    mean: float

    @property
    def left(self) -> float:
        return self.chunks_total - self.chunks_done + self.expected


class Ahead(NamedTuple):
    """What of other documents comes before: those still to be read, and the chunks of those that were."""

    documents: int = 0
    chunks: int = 0


@dataclass(frozen=True)
class Overall:
    """How far a set of documents is.

    `finished` are ready; `states` counts every state; paused documents are in work, but `seconds_left`
    is for the others. It is None while no rate is known or only paused work is left. `documents_ahead`
    are still to be read, and `ahead` is how many chunks of others come before, whoever's they are:
    nothing else is told of those.
    """

    documents: int
    finished: int
    failed: int
    paused: int
    chunks_done: int
    chunks_total: int
    fraction: float
    states: Mapping[str, int]
    rate: float
    parse_rate: float
    seconds_left: float | None
    documents_ahead: int
    ahead: int


def overall(documents: QuerySet[Document]) -> Overall:
    """The documents together, in a few queries that cost by documents, not by chunks."""
    groups = grouped(documents)
    work = work_of(groups)
    return figures(groups, work, rates(), ahead(documents, work))


def figures(groups: Sequence[Group], work: Work, rate: Rates, before: Ahead) -> Overall:
    in_work = sum(group.documents for group in groups if group.state in Document.WORK)
    whole = work.chunks_done + work.left
    states = {
        state: sum(group.documents for group in groups if group.state == state) for state in State.values
    }
    return Overall(
        documents=sum(group.documents for group in groups),
        finished=states[State.READY],
        failed=states[State.FAILED],
        paused=sum(group.documents for group in groups if group.paused and group.state in Document.WORK),
        chunks_done=work.chunks_done,
        chunks_total=work.chunks_total,
        fraction=(work.chunks_done / whole if whole else 0.0) if in_work else 1.0,
        states=states,
        rate=rate.chunks,
        parse_rate=rate.documents,
        seconds_left=seconds_left(work, rate, before) if in_work else 0.0,
        documents_ahead=before.documents,
        ahead=before.chunks,
    )


def work_of(groups: Sequence[Group]) -> Work:
    """Of what failed or was cancelled only what is done counts; what is not read yet is like what is."""
    cut = [group for group in groups if group.state in {State.EMBEDDING, State.READY}]
    ended = sum(group.done for group in groups if group.state in ENDED)
    embedding = [group for group in cut if group.state == State.EMBEDDING]
    total = sum(group.total for group in cut)
    documents = sum(group.cut for group in cut)
    mean = total / documents if documents else GUESSED_CHUNKS
    unread = [group for group in groups if group.state in UNREAD]
    moving = sum(group.documents for group in unread if not group.paused)
    return Work(
        chunks_done=total - sum(group.left for group in embedding) + ended,
        chunks_total=total + ended,
        expected=mean * sum(group.documents for group in unread),
        moving=sum(group.left for group in embedding if not group.paused) + mean * moving,
        unread=moving,
        mean=mean,
    )


def seconds_left(work: Work, rate: Rates, before: Ahead) -> float | None:
    """Reading and embedding go on side by side: the slower of the two counts.

    Of the documents before, which are still to be read, as many chunks are expected as of the own ones.
    """
    if not work.moving and not work.unread:
        return None
    if not rate.chunks or (work.unread and not rate.documents):
        return None
    reading = (work.unread + before.documents) / rate.documents if work.unread else 0.0
    chunks = work.moving + before.chunks + before.documents * work.mean
    return max(chunks / rate.chunks, reading)


def turns_before(mine: float, own: int, others: Iterable[int], turns: int = 1) -> int:
    """How many chunks, or documents, come before the last of `mine`, when `own` of the same collections come first
    and each other collection, with so many waiting, has a turn for each `turns` of theirs, which are as many."""
    reach = math.ceil((mine + own) / turns)
    return own + sum(min(waiting, reach) for waiting in others)


def ahead(documents: QuerySet[Document], work: Work) -> Ahead:
    """What comes before documents of one or more collections, as `turns_before`; nothing where nothing moves."""
    if not work.moving:
        return Ahead()
    collections = set(documents.order_by().values_list("collection", flat=True).distinct())
    return Ahead(
        documents_ahead(documents, work, collections) if work.unread else 0,
        chunks_ahead(documents, work, collections),
    )


def documents_ahead(documents: QuerySet[Document], work: Work, collections: set[int]) -> int:
    waiting = Document.objects.filter(state__in=UNREAD, paused=False)
    last = waiting.filter(pk__in=documents.order_by().values("pk")).aggregate(last=Max("queued_at"))["last"]
    rows = (
        waiting.exclude(pk__in=documents.order_by().values("pk"))
        .order_by()
        .values_list("collection")
        .annotate(everything=Count("pk"), before=Count("pk", filter=Q(queued_at__lt=last or timezone.now())))
    )
    return summed_turns(work.unread, rows, collections)


def chunks_ahead(documents: QuerySet[Document], work: Work, collections: set[int]) -> int:
    waiting = DocumentStage.objects.filter(
        stage=DocumentStage.Stage.EMBED, document__state=State.EMBEDDING, document__paused=False
    )
    last = waiting.filter(document__in=documents.order_by()).aggregate(last=Max("started_at"))["last"]
    if work.unread or last is None:
        last = timezone.now()
    left = F("total") - F("done")
    rows = (
        waiting.exclude(document__in=documents.order_by())
        .values_list("document__collection")
        .annotate(everything=Sum(left), before=Sum(left, filter=Q(started_at__lt=last)))
    )
    return summed_turns(work.moving, rows, collections)


def summed_turns(mine: float, rows: Iterable[tuple[int, int, int | None]], collections: set[int]) -> int:
    """`turns_before`, of rows of a collection, what waits in it, and what of that came before `mine`."""
    waiting = list(rows)
    own = sum(before or 0 for collection, _, before in waiting if collection in collections)
    others = [everything for collection, everything, _ in waiting if collection not in collections]
    return turns_before(mine, own, others, len(collections))


def grouped(documents: QuerySet[Document]) -> list[Group]:
    counted = documents.order_by().values_list("state", "paused").annotate(Count("pk"))
    stages = DocumentStage.objects.filter(
        stage=DocumentStage.Stage.EMBED, document__in=documents.order_by().values("pk")
    )
    chunks = {
        (state, paused): (cut, done, total)
        for state, paused, cut, done, total in stages.values_list(
            "document__state", "document__paused"
        ).annotate(Count("pk"), Sum("done"), Sum("total"))
    }
    return [
        Group(state, paused, count, *chunks.get((state, paused), (0, 0, 0)))
        for state, paused, count in counted
    ]


def rates() -> Rates:
    """The rates of the workers that are alive."""
    found = dict(Heartbeat.objects.fresh().order_by().values_list("queue").annotate(Sum("rate")))
    return Rates(found.get("embed", 0.0), found.get("parse", 0.0))
