"""What the pages of a version's life draw: intervals, guardrails, lines over time; sizes are percent of the picture."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from kb.indexes.models import ValidationReport
from kb.quality.shadow_report import Moment
from retrieval.rollout import Guardrail
from retrieval.validation import Limits

LEAST_REACH = 0.06  # of a picture of differences, to either side
RAILS = {
    "degraded": "lost an arm",
    "empty": "found nothing",
    "unanswered": "got no answer",
    "unopened": "no footnote opened",
    "unhelpful": "called unhelpful",
    "p95_ms": "95 of 100 within",
}
# Two lines in one picture: the paler one first. unfold puts its theme's colours in.
LINES = ("var(--color-base-400)", "var(--color-primary-600)")
LABELS = {
    "overlap": "first ten in common",
    "rbo": "rank-biased overlap",
    "live_ms": "live version, ms",
    "candidate_ms": "this version, ms",
    "score_shift": "score shift of what both found",
}


@dataclass(frozen=True)
class Span:
    """An interval around a mean, with nothing in the middle of the picture; left of `margin` is too much worse."""

    name: str
    said: str
    x: float
    width: float
    mean: float
    margin: float


@dataclass(frozen=True)
class Rail:
    """A guardrail in words."""

    label: str
    candidate: str
    live: str
    broken: bool
    counted: bool


def intervals(report: ValidationReport) -> list[Span]:
    """The differences to the live version on judged questions, on one scale; none where there were none."""
    compared = report.figures.get("compared") or {}
    found: dict[str, dict[str, float]] = {
        name: compared[key]
        for name, key in (("nDCG@10", "ndcg_difference"), ("Recall@10", "recall_difference"))
        if key in compared
    }
    ends = [abs(each[end]) for each in found.values() for end in ("low", "high")]
    reach = 1.1 * max([LEAST_REACH, *ends])

    def at(value: float) -> float:
        return 50 + 50 * value / reach

    return [
        Span(
            name,
            f"{each['mean']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})",
            at(each["low"]),
            max(at(each["high"]) - at(each["low"]), 0.5),
            at(each["mean"]),
            at(-Limits().margin),
        )
        for name, each in found.items()
    ]


def rails(guardrails: Iterable[Guardrail]) -> list[Rail]:
    return [
        Rail(
            RAILS[each.name],
            said(each.name, each.candidate),
            said(each.name, each.live),
            each.broken,
            each.candidate is not None and each.live is not None,
        )
        for each in guardrails
    ]


def said(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} ms" if name == "p95_ms" else f"{value:.1%}"


def chart(moments: Sequence[Moment], *names: str) -> dict[str, str] | None:
    """Lines over the course of a shadow, as Chart.js has them; None where there are no two points."""
    if len(moments) < 2:
        return None
    sets: list[dict[str, Any]] = [
        {
            "label": LABELS[name],
            "data": [rounded(getattr(moment, name)) for moment in moments],
            "borderColor": colour,
            "borderWidth": 2,
            "pointRadius": 0,
        }
        for name, colour in zip(names, LINES[-len(names) :], strict=True)
    ]
    when = [timezone.localtime(moment.at).strftime("%-d %b %H:%M") for moment in moments]
    options = {
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "plugins": {"legend": {"display": True, "align": "start", "labels": {"color": "#8a8f98"}}},
        "scales": {
            "y": {"beginAtZero": True, "ticks": {"color": "#8a8f98"}},
            "x": {"ticks": {"color": "#8a8f98", "maxTicksLimit": 6, "maxRotation": 0}},
        },
    }
    return {"data": json.dumps({"labels": when, "datasets": sets}), "options": json.dumps(options)}


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)  # a gap in the line
