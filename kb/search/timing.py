"""How long searches took, stage by stage: percentiles, their course, the slowest, what failed, what the cache saved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from kb.search.models import Query

STAGES = ("normalise", "cache", "embed", "dense", "lexical", "fuse", "rerank", "fetch", "total")
MOST_QUERIES = 20_000  # the latest of the window: no page looks at more
MOST_SLOW = 10


@dataclass(frozen=True)
class Window:
    """The time that a page looks back over, in steps."""

    key: str
    label: str
    span: timedelta
    step: timedelta


WINDOWS = (
    Window("hour", "Last hour", timedelta(hours=1), timedelta(minutes=5)),
    Window("day", "Last day", timedelta(days=1), timedelta(hours=1)),
    Window("week", "Last week", timedelta(days=7), timedelta(hours=6)),
)


@dataclass(frozen=True)
class Target:
    """What 95 of 100 queries of a kind are to stay below, in milliseconds, from the question to its passages."""

    kind: str
    label: str
    milliseconds: float


TARGETS = (
    Target(Query.Kind.SEARCH, "Searches", 50),
    Target(Query.Kind.ASK, "Questions, up to their passages", 200),
)


@dataclass(frozen=True)
class Percentiles:
    """Of one stage, in milliseconds, over `count` queries that had it."""

    stage: str
    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Step:
    """One stage of the queries in one step of a window, in milliseconds; None where there were none."""

    start: datetime
    count: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class Saved:
    """How often a vector was looked for and found, the median milliseconds of embedding, how many were degraded and
    how many failed."""

    looked: int
    found: int
    embedding: float | None
    queries: int
    degraded: int
    failed: int

    @property
    def ratio(self) -> float | None:
        return self.found / self.looked if self.looked else None

    @property
    def seconds(self) -> float | None:
        """What embedding would have taken beside."""
        return None if self.embedding is None else self.found * self.embedding / 1000


RECENT = """
WITH recent AS MATERIALIZED (
    SELECT id, kind, stages, created_at, degraded, failed FROM search_query
    WHERE created_at >= %(since)s AND jsonb_typeof(stages -> 'total') = 'number'
    ORDER BY created_at DESC LIMIT %(most)s
)
"""
BY_STAGE = """
SELECT kind, stage.key, count(*),
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY stage.value::double precision)
FROM recent, jsonb_each(stages) stage WHERE jsonb_typeof(stage.value) = 'number' GROUP BY kind, stage.key
"""
BY_STEP = """
SELECT kind, stage.key, date_bin(%(step)s, created_at, %(since)s), count(*),
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY stage.value::double precision)
FROM recent, jsonb_each(stages) stage WHERE jsonb_typeof(stage.value) = 'number' GROUP BY 1, 2, 3
"""
SLOWEST = """
SELECT id FROM recent ORDER BY (stages -> 'total')::double precision DESC, id LIMIT %(slow)s
"""
SAVED = """
SELECT count(*) FILTER (WHERE stages ? 'cache'),
    count(*) FILTER (WHERE stages ? 'cache' AND NOT stages ? 'embed'),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY (stages -> 'embed')::double precision)
        FILTER (WHERE jsonb_typeof(stages -> 'embed') = 'number'),
    count(*), count(*) FILTER (WHERE degraded <> ''), count(*) FILTER (WHERE failed)
FROM recent
"""


@dataclass(frozen=True)
class Timing:
    """All that is known of one window, which ends now. `steps` are by kind and stage. `whole`: no query of it was
    left out."""

    stages: Mapping[str, Sequence[Percentiles]]
    steps: Mapping[str, Mapping[str, Sequence[Step]]]
    slowest: Sequence[UUID]
    saved: Saved

    @property
    def whole(self) -> bool:
        return self.saved.queries < MOST_QUERIES

    def total(self, kind: str) -> Percentiles | None:
        """Of the queries of a kind, from beginning to end."""
        return next((found for found in self.stages.get(kind, ()) if found.stage == "total"), None)


def timing(window: Window, now: datetime) -> Timing:
    """Of the queries of everybody: not for everybody's eyes."""
    since = now - window.span
    given = {"since": since, "most": MOST_QUERIES, "step": window.step, "slow": MOST_SLOW}
    starts = [since + number * window.step for number in range(window.span // window.step)]
    return Timing(
        by_kind_and_stage(rows(BY_STAGE, given)),
        by_kind_and_step(rows(BY_STEP, given), starts),
        [query for (query,) in rows(SLOWEST, given)],
        Saved(*rows(SAVED, given)[0]),
    )


def rows(statement: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(RECENT + statement, given)
        return list(cursor.fetchall())


def by_kind_and_stage(found: Iterable[tuple[Any, ...]]) -> dict[str, list[Percentiles]]:
    """The stages in the order in which they run; unknown ones come last."""
    kinds: dict[str, list[Percentiles]] = {}
    for kind, stage, count, values in found:
        kinds.setdefault(kind, []).append(Percentiles(stage, count, *values))
    for stages in kinds.values():
        stages.sort(key=lambda each: (place(each.stage), each.stage))
    return kinds


def by_kind_and_step(
    found: Iterable[tuple[Any, ...]], starts: Sequence[datetime]
) -> dict[str, dict[str, list[Step]]]:
    """Of each stage every step of the window, oldest first, those without queries included."""
    known: dict[tuple[str, str], dict[datetime, Step]] = {}
    for kind, stage, start, count, values in found:
        known.setdefault((kind, stage), {})[start] = Step(start, count, *values)
    steps: dict[str, dict[str, list[Step]]] = {}
    for (kind, stage), there in known.items():
        every = [there.get(start, Step(start, 0, None, None)) for start in starts]
        steps.setdefault(kind, {})[stage] = every
    return steps


def place(stage: str) -> int:
    """Where a stage stands in a search; unknown ones come last."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


@dataclass(frozen=True)
class Span:
    """When a stage of one search ran, in milliseconds since it began; the lexical arm runs beside the others."""

    stage: str
    start: float
    took: float
    beside: bool = False


def trace(stages: Mapping[str, float]) -> list[Span]:
    """What ran when, told from how long each stage took: both arms begin after the question is normalised."""
    spans: list[Span] = []
    now = 0.0
    for stage in ("normalise", "cache", "embed", "dense"):
        if stage in stages:
            spans.append(Span(stage, now, stages[stage]))
            now += stages[stage]
    if "lexical" in stages:
        began = stages.get("normalise", 0.0)
        spans.append(Span("lexical", began, stages["lexical"], beside=True))
        now = max(now, began + stages["lexical"])
    for stage in ("fuse", "rerank", "fetch"):
        if stage in stages:
            spans.append(Span(stage, now, stages[stage]))
            now += stages[stage]
    return spans
