"""What queries beside the readers' way showed of a version: in sum, over time, and where it disagreed most."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Avg, Count, Q
from django.db.models.functions import TruncDay, TruncHour, TruncMinute
from django.db.models.functions.datetime import TruncBase

from kb.core.models import Collection, Reader
from kb.core.problems import Problem
from kb.documents.models import Chunk
from kb.indexes.models import IndexVersion
from kb.search.models import ShadowComparison
from retrieval.rollout import percentile

MOST_TIMED = 10_000
SHOWN = 10  # results of either side
MOST_SHOWN = 8  # queries at a time: what is judged makes room for others
QUOTED = 240  # characters of a passage


@dataclass(frozen=True)
class Summary:
    """Means over the comparisons, 95th percentiles of milliseconds, and what curators said."""

    count: int
    overlap: float | None
    rbo: float | None
    score_shift: float | None
    failed: int
    live_ms: float | None
    candidate_ms: float | None
    prefer_live: int
    prefer_candidate: int
    equal: int


@dataclass(frozen=True)
class Moment:
    """The comparisons of a minute, an hour or a day."""

    at: datetime
    count: int
    overlap: float
    rbo: float
    live_ms: float
    candidate_ms: float
    score_shift: float | None = None  # none where both found nothing in common


@dataclass(frozen=True)
class Result:
    """A passage that one side found, at its rank; `theirs` is the other side's rank of it, None where it has it not.

    Without a title the passage is gone, or not for this reader.
    """

    rank: int
    theirs: int | None
    title: str
    text: str
    document_id: str


@dataclass(frozen=True)
class Disagreement:
    """Both sides of one query."""

    comparison: ShadowComparison
    live: Sequence[Result]
    candidate: Sequence[Result]


def summary(version: IndexVersion) -> Summary:
    rows = ShadowComparison.objects.filter(version=version)
    found = rows.order_by().aggregate(
        count=Count("pk"),
        mean_overlap=Avg("overlap"),
        mean_rbo=Avg("rbo"),
        shift=Avg("score_shift"),
        failed=Count("pk", filter=~Q(error="")),
        **{f"prefer_{value}": Count("pk", filter=Q(preference=value)) for value in ("live", "candidate")},
        equal=Count("pk", filter=Q(preference="equal")),
    )
    timed = list(rows.order_by("-created_at").values_list("live_ms", "candidate_ms")[:MOST_TIMED])
    live, candidate = (percentile([pair[side] for pair in timed]) for side in (0, 1))
    return Summary(
        count=found["count"],
        overlap=found["mean_overlap"],
        rbo=found["mean_rbo"],
        score_shift=found["shift"],
        failed=found["failed"],
        live_ms=live and live[1],
        candidate_ms=candidate and candidate[1],
        prefer_live=found["prefer_live"],
        prefer_candidate=found["prefer_candidate"],
        equal=found["equal"],
    )


def course(version: IndexVersion) -> list[Moment]:
    """By minute where it lasted no more than two hours, by hour up to five days, else by day; oldest first."""
    rows = ShadowComparison.objects.filter(version=version).order_by("created_at")
    first, last = (rows.values_list("created_at", flat=True).first(), rows.last())
    if first is None or last is None:
        return []
    by = steps(last.created_at - first)
    moments = rows.order_by().annotate(moment=by("created_at")).values("moment").order_by("moment")
    return [
        Moment(*row)
        for row in moments.annotate(
            count=Count("pk"),
            one=Avg("overlap"),
            two=Avg("rbo"),
            three=Avg("live_ms"),
            four=Avg("candidate_ms"),
            five=Avg("score_shift"),
        ).values_list("moment", "count", "one", "two", "three", "four", "five")
    ]


def steps(lasted: timedelta) -> type[TruncBase]:
    if lasted <= timedelta(hours=2):
        return TruncMinute
    return TruncHour if lasted <= timedelta(days=5) else TruncDay


def disagreements(version: IndexVersion, reader: Reader, most: int = MOST_SHOWN) -> list[Disagreement]:
    """Where the version agrees least with what the reader got, what nobody judged yet first."""
    rows = ShadowComparison.objects.filter(version=version, rbo__lt=1).select_related("query", "judged_by")
    worst = list(rows.order_by("preference", "rbo", "-created_at")[:most])
    ids = {chunk for row in worst for chunk, _ in [*row.live, *row.candidate]}
    chunks = seen(ids, reader)
    return [
        Disagreement(row, side(row.live, row.candidate, chunks), side(row.candidate, row.live, chunks))
        for row in worst
    ]


def seen(ids: Iterable[int], reader: Reader) -> dict[int, Chunk]:
    """The passages that are still there and that the reader may see."""
    visible = Collection.objects.visible_to(reader)
    rows = Chunk.objects.filter(pk__in=list(ids), collection__in=visible).select_related("document")
    return {row.pk: row for row in rows}


def side(
    mine: Sequence[Sequence[float]], others: Sequence[Sequence[float]], chunks: dict[int, Chunk]
) -> list[Result]:
    theirs = {int(chunk): rank for rank, (chunk, _) in enumerate(others[:SHOWN], 1)}
    found = []
    for rank, (chunk, _) in enumerate(mine[:SHOWN], 1):
        row = chunks.get(int(chunk))
        title, text = (row.document.title, row.text[:QUOTED]) if row else ("", "")
        found.append(Result(rank, theirs.get(int(chunk)), title, text, str(row.document_id) if row else ""))
    return found


def judge(reader: Reader, comparison: ShadowComparison, preference: str) -> None:
    """A curator's verdict; a second one replaces the first."""
    if preference not in ShadowComparison.Preference.values:
        raise Problem("invalid", "Say which side is better, or that both are as good.", field="preference")
    comparison.preference = preference
    comparison.judged_by_id = reader.pk
    comparison.save(update_fields=["preference", "judged_by"])
