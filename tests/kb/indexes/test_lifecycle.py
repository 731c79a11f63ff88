"""Only legal transitions are made, each leaves a row, and of two people at once one wins."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from kb.core.models import AuditEntry, User
from kb.core.problems import Problem
from kb.indexes import lifecycle
from kb.indexes.lifecycle import LEGAL, Standing, legal_moves, move, refusal, step
from kb.indexes.models import Index, IndexTransition, IndexVersion
from kb.indexes.version_actions import override
from tests.kb.indexes.versions import beside, report, state_of


def reported(version: IndexVersion) -> IndexVersion:
    report(version)
    return IndexVersion.objects.select_related("index").get(pk=version.pk)


STATES = list(IndexVersion.State)
# What may follow each state, written out: the table in the code is compared with it.
FOLLOW = {
    "building": "validating paused cancelled failed",
    "paused": "building cancelled",
    "failed": "building cancelled",
    "validating": "shadow canary live cancelled failed",
    "shadow": "canary live validating cancelled failed",
    "canary": "live shadow validating cancelled failed",
    "live": "",
    "retired": "live dropped",
    "cancelled": "dropped",
    "dropped": "",
}


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_the_table(before: str, after: str) -> None:
    allowed = not refusal(Standing(before, held="building" if before == "paused" else ""), after)
    assert allowed == (after in FOLLOW[before].split())


def test_every_state_is_in_the_table() -> None:
    assert set(LEGAL) == set(STATES)


@pytest.mark.parametrize(
    ("standing", "to", "word"),
    [
        (Standing("validating", let_on=False), "shadow", "validate"),
        (Standing("validating", let_on=False), "canary", "validate"),
        (Standing("validating", let_on=False), "live", "validate"),
        (Standing("validating", built=False), "live", "index"),
        (Standing("retired", built=False), "live", "index"),
        (Standing("validating", canary_elsewhere=True), "canary", "Another"),
        (Standing("live"), "retired", "promoting"),
        (Standing("shadow", let_on=False), "canary", "validate"),
        (Standing("shadow", let_on=False), "live", "validate"),
        (Standing("canary", let_on=False), "live", "validate"),
        (Standing("validating", alone=True), "canary", "promote"),
        (Standing("validating", alone=True), "shadow", "promote"),
    ],
)
def test_what_is_missing_is_said(standing: Standing, to: str, word: str) -> None:
    assert word in refusal(standing, to)


@pytest.mark.parametrize(
    ("standing", "to"),
    [
        (Standing("retired", let_on=False), "live"),
        (Standing("canary", let_on=False), "shadow"),
        (Standing("validating", alone=True), "live"),
    ],
)
def test_going_back_asks_for_no_report_and_the_first_version_runs_beside_nothing(
    standing: Standing, to: str
) -> None:
    assert refusal(standing, to) == ""


@pytest.mark.django_db
class TestMove:
    def test_it_writes_row_transition_and_audit_log(self, version: IndexVersion, admin: User) -> None:
        made = beside(version)
        moved = move(made.pk, "paused", admin, "it is noon")
        assert (moved.state, moved.held) == ("paused", "building") == (state_of(made), "building")
        transition = IndexTransition.objects.get(version=made)
        assert (transition.before, transition.after, transition.actor, transition.reason) == (
            "building", "paused", admin, "it is noon",
        )  # fmt: skip
        entry = AuditEntry.objects.get(verb="paused")
        assert (entry.actor, entry.detail["before"]) == (admin, "building")

    def test_a_paused_version_goes_back_to_where_it_was(self, version: IndexVersion) -> None:
        made = beside(version)
        move(made.pk, "paused", None, "")
        moved = move(made.pk, "building", None, "")
        assert (moved.state, moved.held) == ("building", "")

    def test_a_refusal_changes_nothing(self, version: IndexVersion) -> None:
        made = beside(version)
        with pytest.raises(Problem) as refused:
            move(made.pk, "live", None, "")
        assert (refused.value.code, refused.value.status) == ("transition_refused", 409)
        assert state_of(made) == "building"
        assert not IndexTransition.objects.filter(version=made).exists()

    def test_what_is_not_there_is_not_found(self, version: IndexVersion) -> None:
        with pytest.raises(Problem) as refused:
            move(version.pk + 1000, "paused", None, "")
        assert refused.value.status == 404

    def test_promotion_moves_the_pointer_and_keeps_the_old_one_warm(
        self, version: IndexVersion, index: Index, admin: User
    ) -> None:
        made = beside(version, "canary", canary_percent=50, shadow_share=0.1)
        move(made.pk, "live", admin, "better")
        index.refresh_from_db()
        made.refresh_from_db()
        version.refresh_from_db()
        assert index.live_version == made
        assert (made.state, made.canary_percent, made.shadow_share) == ("live", 0, 0.0)
        assert version.state == "retired"
        assert version.drop_after is not None
        left = version.drop_after - timezone.now()
        assert timedelta(hours=71) < left <= timedelta(hours=72)
        assert version in IndexVersion.objects.maintained(), "new documents still reach it"
        assert IndexTransition.objects.filter(version=version, after="retired", actor=admin).exists()

    def test_going_back_is_promotion_of_the_retired(self, version: IndexVersion, index: Index) -> None:
        made = beside(version, "canary")
        move(made.pk, "live", None, "")
        back = move(version.pk, "live", None, "worse")
        index.refresh_from_db()
        assert index.live_version == back == version
        assert back.drop_after is None
        assert state_of(made) == "retired"

    def test_failing_keeps_the_reason_and_resuming_builds_anew(self, version: IndexVersion) -> None:
        made = beside(version, "canary", canary_percent=5)
        failed = move(made.pk, "failed", None, "a guardrail broke: 9 % of the searches found nothing")
        assert failed.error.startswith("a guardrail")
        assert failed.canary_percent == 0
        resumed = move(made.pk, "building", None, "")
        assert (resumed.error, resumed.built_at) == ("", None)
        assert resumed.started_at is not None

    def test_other_fields_are_written_with_it(self, version: IndexVersion) -> None:
        made = beside(version, "validating")
        report(made)
        assert move(made.pk, "canary", None, "", canary_percent=1).canary_percent == 1
        made.refresh_from_db()
        assert made.canary_percent == 1

    @pytest.mark.parametrize(
        ("verdict", "reason", "allowed"), [("pass", "", True), ("fail", "", False), ("fail", "known", True)]
    )
    def test_a_failed_report_must_be_overridden(
        self, version: IndexVersion, admin: User, verdict: str, reason: str, allowed: bool
    ) -> None:
        made = beside(version, "validating")
        report(made, verdict, overridden_by=admin if reason else None, override_reason=reason)
        assert ("live" in legal_moves(made)) == allowed

    def test_a_report_from_before_it_was_built_anew_does_not_count(self, version: IndexVersion) -> None:
        made = beside(version, "validating")
        report(made, at=timezone.now() - timedelta(hours=1))
        assert legal_moves(made) == ["cancelled", "failed"]

    def test_a_report_beside_what_serves_no_more_does_not_count(
        self, version: IndexVersion, admin: User
    ) -> None:
        second, third = beside(version, "validating"), beside(version, "validating")
        assert "live" in legal_moves(reported(second))
        reported(third)
        move(third.pk, "live", None, "")
        with pytest.raises(Problem, match="beside what serves now"):
            move(second.pk, "live", None, "")
        override(admin, second, "it was compared by hand")
        assert move(second.pk, "live", None, "").state == "live"
        assert move(third.pk, "live", None, "back at once").state == "live"

    @pytest.mark.parametrize("state", ["shadow", "canary"])
    def test_a_report_that_fails_later_stops_it_where_it_is(self, version: IndexVersion, state: str) -> None:
        made = beside(version, state, canary_percent=5)
        assert "live" in legal_moves(made)
        report(made, "fail")
        assert not {"canary", "live"} & set(legal_moves(made))
        assert "validating" in legal_moves(made)

    def test_a_canary_that_no_report_lets_on_may_only_have_fewer_readers(self, version: IndexVersion) -> None:
        made = beside(version, "canary", canary_percent=5)
        report(made, "fail")
        with pytest.raises(Problem, match="validate"):
            step(made.pk, 25, None, "")
        assert step(made.pk, 1, None, "").canary_percent == 1

    def test_a_step_is_from_where_it_was_decided(self, version: IndexVersion) -> None:
        made = beside(version, "canary", canary_percent=1)
        with pytest.raises(Problem, match="1 % by now"):
            step(made.pk, 50, None, "", before=25)
        assert step(made.pk, 5, None, "", before=1).canary_percent == 5

    def test_the_newest_report_counts(self, version: IndexVersion) -> None:
        made = beside(version, "validating")
        report(made)
        report(made, "fail")
        assert "live" not in legal_moves(made)

    def test_a_step_of_the_canary_is_a_transition(self, version: IndexVersion, admin: User) -> None:
        made = beside(version, "canary", canary_percent=1)
        assert step(made.pk, 5, admin, "healthy for an hour").canary_percent == 5
        noted = IndexTransition.objects.get(version=made)
        assert (noted.before, noted.after, noted.reason) == ("canary", "canary", "5 %: healthy for an hour")
        with pytest.raises(Problem):
            step(made.pk, 7, None, "")
        with pytest.raises(Problem):
            step(version.pk, 5, None, "")

    def test_the_database_itself_allows_one_live_version(self, version: IndexVersion) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            beside(version, "live")


@pytest.mark.django_db(transaction=True)
def test_of_two_promotions_at_once_one_wins(version: IndexVersion, index: Index) -> None:
    """Each wants to retire what is live now and take its place by way of being the canary first."""
    made = beside(version, "validating")
    report(made)
    outcomes, together = [], threading.Barrier(2)

    def promote() -> None:
        try:
            together.wait()
            outcomes.append(move(made.pk, "live", None, "").state)
        except Problem as problem:
            outcomes.append(problem.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=promote) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["live", "transition_refused"]
    assert IndexTransition.objects.filter(after="live", version=made).count() == 1
    index.refresh_from_db()
    assert index.live_version == made


@pytest.mark.django_db(transaction=True)
def test_a_search_does_not_wait_for_a_promotion(version: IndexVersion) -> None:
    made = beside(version, "validating")
    report(made)
    with transaction.atomic():
        lifecycle.move(made.pk, "live", None, "")
        seen = []

        def look() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '50ms'")
            seen.append(Index.objects.select_related("live_version").get().live_version)
            seen.append(IndexVersion.objects.maintained().count())
            connection.close()

        looking = threading.Thread(target=look)
        looking.start()
        looking.join()
    assert seen == [version, 2]


@pytest.mark.django_db(transaction=True)
def test_of_two_promotions_of_different_versions_at_once_one_wins(version: IndexVersion) -> None:
    versions = [beside(version, "validating"), beside(version, "validating")]
    for each in versions:
        report(each)
    outcomes, together = [], threading.Barrier(2)

    def promote(made: IndexVersion) -> None:
        try:
            together.wait()
            outcomes.append(move(made.pk, "live", None, "").state)
        except Problem as problem:
            outcomes.append(problem.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=promote, args=[each]) for each in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["live", "transition_refused"]
