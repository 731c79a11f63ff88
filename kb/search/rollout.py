"""Looks after canaries: what both sides did in the step, and what becomes of the candidate by that."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Exists, FloatField, OuterRef, Q, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils import timezone

from kb.core.problems import Problem
from kb.indexes import lifecycle
from kb.indexes.models import IndexTransition, IndexVersion
from kb.search.models import Answer, Interaction, Query
from retrieval.rollout import Decision, Policy, Side, decide

logger = logging.getLogger(__name__)

State = IndexVersion.State
GOING_ON = ("step_up", "ready")
MOST_TIMED = 10_000  # of the latest queries of a side


@dataclass(frozen=True)
class Step:
    """A canary's step: since when it has its share of the readers, and what both sides did since."""

    since: datetime
    candidate: Side
    live: Side
    decision: Decision


def steer_all() -> None:
    """Each canary goes on, waits or goes back. Whoever moved one by hand meanwhile was first."""
    canaries = IndexVersion.objects.filter(state=State.CANARY).select_related("index__live_version")
    for version in canaries.order_by("pk"):
        try:
            steer(version)
        except Problem as problem:
            logger.info("The canary %s was not moved: %s", version, problem.message)


def steer(version: IndexVersion) -> Decision:
    """Does with the canary what is decided of it."""
    decision = measured(version).decision
    why = " ".join(decision.reasons)
    match decision.action:
        case "step_up":
            lifecycle.step(version.pk, decision.percent, None, why, before=version.canary_percent)
        case "roll_back":
            logger.warning("The canary %s goes back: %s", version, why)
            lifecycle.move(version.pk, State.FAILED, None, why)
    return decision


def measured(version: IndexVersion) -> Step:
    """The canary's step as it is now; its index and that one's live version at hand."""
    since = began(version)
    candidate = side(version.pk, since)
    live = side(version.index.live_version_id, since)
    hours = (timezone.now() - since).total_seconds() / 3600
    decision = decide(version.canary_percent, hours, candidate, live, policy())
    if decision.action in GOING_ON and not lifecycle.let_on(version):
        decision = replace(
            decision, action="wait", percent=version.canary_percent, reasons=(lifecycle.NOT_LET_ON,)
        )
    return Step(since, candidate, live, decision)


def policy() -> Policy:
    return Policy(step_hours=settings.CANARY_STEP_HOURS, step_queries=settings.CANARY_STEP_QUERIES)


def began(version: IndexVersion) -> datetime:
    """Since when the canary has the share that it has: each step is a transition."""
    steps = IndexTransition.objects.filter(version=version, after=State.CANARY).order_by("-at")
    found = steps.values_list("at", flat=True).first()
    return found or version.created_at


def side(version_id: int | None, since: datetime) -> Side:
    """What one version did since then."""
    queries = Query.objects.filter(versions__contains=[version_id], created_at__gte=since)
    counted = queries.order_by().aggregate(
        queries=Count("pk"),
        degraded=Count("pk", filter=~Q(degraded="") | Q(failed=True)),
        empty=Count("pk", filter=Q(results=0, failed=False)),
    )
    answers = Answer.objects.filter(query__in=queries).order_by()
    given = answers.aggregate(
        asked=Count("pk", filter=~Q(state=Answer.State.CANCELLED)),
        unanswered=Count("pk", filter=Q(state__in=[Answer.State.DECLINED, Answer.State.FAILED])),
    )
    answered = answers.filter(state=Answer.State.ANSWERED)
    read = answered.annotate(
        was_opened=Exists(interactions(Interaction.Kind.OPENED)),
        was_helpful=Exists(interactions(Interaction.Kind.HELPFUL)),
        was_unhelpful=Exists(interactions(Interaction.Kind.UNHELPFUL)),
    ).aggregate(
        answers=Count("pk"),
        opened=Count("pk", filter=Q(was_opened=True)),
        judged=Count("pk", filter=Q(was_helpful=True) | Q(was_unhelpful=True)),
        unhelpful=Count("pk", filter=Q(was_unhelpful=True)),
    )
    clicked = queries.filter(interactions__kind=Interaction.Kind.OPENED).order_by().distinct().count()
    return Side(**counted, **given, **read, clicked=clicked, latencies=latencies(queries))


def interactions(kind: str) -> QuerySet[Interaction]:
    return Interaction.objects.filter(answer=OuterRef("pk"), kind=kind)


def latencies(queries: QuerySet[Query]) -> tuple[float, ...]:
    """Milliseconds of the searches that asked the model: a canary of few readers has few vectors in the cache,
    which is not its fault."""
    asked = queries.filter(stages__has_keys=["embed", "total"]).order_by("-created_at")
    return tuple(asked.values_list(Cast(KT("stages__total"), FloatField()), flat=True)[:MOST_TIMED])
