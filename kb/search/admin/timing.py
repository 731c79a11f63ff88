"""The page of stage times: percentiles against targets, their course, the slowest queries, the cache of vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone

from kb.core.admin.base import person
from kb.search.models import Query
from kb.search.query_vectors import size
from kb.search.timing import STAGES, TARGETS, WINDOWS, Percentiles, Span, Step, Target, Timing, timing, trace

HIGHEST = 5  # times the target: a step above that is cut off, so that the others can still be read


@dataclass(frozen=True)
class Pillar:
    """One step of the course; heights in percent of the plot, 0 where nobody asked. `cut`: it is higher than shown."""

    step: Step
    p50: float
    p95: float
    cut: bool


@dataclass(frozen=True)
class Course:
    """How the time went over the window; `line` is the target's height, `top` the plot's in milliseconds."""

    pillars: Sequence[Pillar]
    line: float
    top: float

    @property
    def cut(self) -> bool:
        return any(pillar.cut for pillar in self.pillars)


@dataclass(frozen=True)
class Stage:
    """A stage, and how it went over the window beside its own highest step."""

    times: Percentiles
    course: Course


@dataclass(frozen=True)
class Verdict:
    """One kind of query against its target; `met` is None where there was none."""

    target: Target
    total: Percentiles | None
    stages: Sequence[Stage]
    course: Course | None

    @property
    def met(self) -> bool | None:
        return None if self.total is None else self.total.p95 <= self.target.milliseconds


@dataclass(frozen=True)
class Bar:
    """A stage of a slow query in its picture, 100 wide."""

    span: Span
    x: float
    width: float


@dataclass(frozen=True)
class Slow:
    """One of the slowest queries and what ran when."""

    query: Query
    total: float
    bars: Sequence[Bar]


def page(request: HttpRequest) -> dict[str, Any]:
    """What the page shows; PermissionDenied to whoever may not see everybody's queries."""
    if not (request.user.is_active and person(request).is_superuser):
        raise PermissionDenied("These are the queries of everybody.")
    window = next((each for each in WINDOWS if each.key == request.GET.get("window")), WINDOWS[0])
    known = timing(window, timezone.now())
    return {
        "title": "Search times",
        "windows": WINDOWS,
        "window": window,
        "verdicts": [verdict(target, known) for target in TARGETS],
        "slowest": slowest(request, known.slowest),
        "stages": [stage for stage in STAGES if stage != "total"],
        "timing": known,
        "size": size(),
    }


def verdict(target: Target, known: Timing) -> Verdict:
    steps = known.steps.get(target.kind, {})
    times = known.stages.get(target.kind, ())
    return Verdict(
        target,
        known.total(target.kind),
        [Stage(each, course(steps[each.stage], each.p95)) for each in times if each.stage in steps],
        course(steps["total"], target.milliseconds) if steps else None,
    )


def course(steps: Sequence[Step], target: float) -> Course:
    """`target` is what the line shows, and the least that the plot reaches up to."""
    highest = max([target, *(step.p95 for step in steps if step.p95 is not None)])
    top = 1.1 * min(highest, HIGHEST * target) or 1.0
    return Course([pillar(step, top) for step in steps], 100 * target / top, top)


def pillar(step: Step, top: float) -> Pillar:
    p50, p95 = step.p50 or 0.0, step.p95 or 0.0
    return Pillar(step, min(100 * p50 / top, 100.0), min(100 * p95 / top, 100.0), p95 > top)


def slowest(request: HttpRequest, ids: Sequence[UUID]) -> list[Slow]:
    queries = Query.objects.visible_to(person(request)).select_related("user").in_bulk(list(ids))
    return [slow(queries[each]) for each in ids if each in queries]


def slow(query: Query) -> Slow:
    spans = trace(query.stages)
    whole = max([query.stages["total"], *(span.start + span.took for span in spans)]) or 1.0
    bars = [Bar(span, 100 * span.start / whole, max(100 * span.took / whole, 0.3)) for span in spans]
    return Slow(query, query.stages["total"], bars)
