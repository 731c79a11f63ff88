"""Canaries step up when they are healthy and old enough, go back when they are not, and nobody need look."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from kb.core.models import AuditEntry, User
from kb.core.problems import Problem
from kb.indexes import lifecycle
from kb.indexes.models import Index, IndexTransition, IndexVersion, ValidationReport
from kb.search.models import Answer, Interaction, Query
from kb.search.rollout import measured, steer
from kb.search.tasks import steer_canaries_task
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)

HEALTHY: dict[str, Any] = {"stages": {"embed": 5.0, "total": 20.0}, "results": 8}


@pytest.fixture
def canary(admin: User, index: Index) -> IndexVersion:
    version = candidate(index)
    ValidationReport.objects.create(version=version, verdict="pass", against=index.live_version)
    lifecycle.move(version.pk, State.CANARY, admin, "go", canary_percent=5)
    IndexTransition.objects.update(at=timezone.now() - timedelta(hours=30))
    return IndexVersion.objects.select_related("index__live_version").get(pk=version.pk)


def asked(version: IndexVersion, count: int, **more: Any) -> list[Query]:
    return Query.objects.bulk_create(
        Query(id=uuid.uuid4(), kind="ask", text="?", version=version, versions=[version.pk], **HEALTHY | more)
        for _ in range(count)
    )


def live(version: IndexVersion) -> IndexVersion:
    assert version.index.live_version is not None
    return version.index.live_version


def now(version: IndexVersion) -> tuple[str, int]:
    version.refresh_from_db()
    return version.state, version.canary_percent


def test_both_sides_are_counted_since_the_step_began(admin: User, canary: IndexVersion) -> None:
    queries = asked(canary, 4)
    asked(canary, 1, degraded="by words alone")
    asked(canary, 2, results=0, stages={"cache": 1.0, "total": 3.0})
    old = asked(canary, 5)
    Query.objects.filter(pk__in=[query.pk for query in old]).update(
        created_at=timezone.now() - timedelta(hours=31)
    )
    answers = [Answer.objects.create(query=query, state=Answer.State.ANSWERED) for query in queries]
    for kind in ("opened", "opened", "unhelpful"):
        Interaction.objects.create(answer=answers[0], user=admin, kind=kind)
    Interaction.objects.create(answer=answers[1], user=admin, kind="helpful")
    Answer.objects.filter(pk=answers[3].pk).update(state=Answer.State.DECLINED)
    for rank in (1, 2):
        Interaction.objects.create(query=queries[2], user=admin, kind="opened", marker=rank)
    asked(live(canary), 3)
    step = measured(canary)
    found = step.candidate
    assert (found.clicked, step.live.clicked) == (1, 0)
    assert (found.queries, found.degraded, found.empty) == (7, 1, 2)
    assert (found.asked, found.unanswered) == (4, 1)
    assert (found.answers, found.opened, found.judged, found.unhelpful) == (3, 1, 2, 1)
    assert found.latencies == (20.0,) * 5, "what had its vector in the cache is not compared"
    assert step.live.queries == 3


def test_a_healthy_canary_steps_up(canary: IndexVersion) -> None:
    asked(canary, 120)
    asked(live(canary), 120)
    steer_canaries_task()
    assert now(canary) == (State.CANARY, 25)
    last = IndexTransition.objects.filter(version=canary).latest("at")
    assert (last.before, last.after, last.actor) == (State.CANARY, State.CANARY, None)
    assert "Healthy" in last.reason
    steer_canaries_task()
    assert now(canary) == (State.CANARY, 25), "a new step begins from nothing"


def test_a_canary_whose_last_report_fails_is_not_given_more(canary: IndexVersion) -> None:
    asked(canary, 120)
    asked(live(canary), 120)
    ValidationReport.objects.create(version=canary, verdict="fail", against=live(canary))
    decision = steer(canary)
    assert (decision.action, decision.percent) == ("wait", 5)
    assert "validate it" in decision.reasons[0]
    assert now(canary) == (State.CANARY, 5)


def test_a_canary_waits_for_enough_queries(canary: IndexVersion) -> None:
    asked(canary, 99)
    asked(live(canary), 120)
    steer_canaries_task()
    assert now(canary) == (State.CANARY, 5)


def test_a_canary_waits_for_its_time(canary: IndexVersion, settings: Any) -> None:
    asked(canary, 120)
    asked(live(canary), 120)
    settings.CANARY_STEP_HOURS = 31
    assert steer(canary).action == "wait"
    settings.CANARY_STEP_HOURS = 29
    assert steer(canary).action == "step_up"


@pytest.mark.parametrize(
    ("worse", "word"),
    [
        ({"results": 0}, "found nothing"),
        ({"degraded": "by words alone"}, "lost an arm"),
        ({"failed": True}, "lost an arm"),
        ({"stages": {"embed": 5.0, "total": 900.0}}, "900 ms"),
    ],
)
def test_a_broken_guardrail_takes_it_back_at_once(
    canary: IndexVersion, worse: dict[str, Any], word: str
) -> None:
    asked(canary, 60, **worse)
    asked(live(canary), 400)
    steer_canaries_task()
    assert now(canary) == (State.FAILED, 0)
    assert word in canary.error
    assert AuditEntry.objects.filter(verb=State.FAILED, actor=None).exists()
    canary.index.refresh_from_db()
    assert live(canary).state == State.LIVE, "and the live version serves everybody"
    steer_canaries_task()
    assert now(canary) == (State.FAILED, 0)


def test_a_candidate_that_declines_more_goes_back(canary: IndexVersion) -> None:
    for version, state, count in (
        (canary, "declined", 40),
        (canary, "cancelled", 5),
        (live(canary), "answered", 60),
    ):
        Answer.objects.bulk_create(Answer(query=query, state=state) for query in asked(version, count))
    assert measured(canary).candidate.asked == 40, "who left before the answer came says nothing of it"
    steer_canaries_task()
    assert now(canary) == (State.FAILED, 0)
    assert "Questions without an answer: 100.0%" in canary.error


def test_a_canary_of_half_the_readers_waits_for_a_person(canary: IndexVersion) -> None:
    IndexVersion.objects.filter(pk=canary.pk).update(canary_percent=50)
    canary.refresh_from_db()
    asked(canary, 120)
    asked(live(canary), 120)
    assert steer(canary).action == "ready"
    assert now(canary) == (State.CANARY, 50)


def test_who_moved_it_first_wins(admin: User, canary: IndexVersion) -> None:
    asked(canary, 60, results=0)
    asked(live(canary), 400)
    lifecycle.move(canary.pk, State.CANCELLED, admin, "by hand")
    with pytest.raises(Problem):
        steer(canary)
    steer_canaries_task()
    assert now(canary) == (State.CANCELLED, 0)
