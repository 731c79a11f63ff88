"""Past a failed report, into shadow, to more readers: refused where it is not legal, recorded where it is."""

import pytest

from kb.core.models import AuditEntry, User
from kb.core.problems import Problem
from kb.indexes.models import Index, IndexTransition, IndexVersion, ValidationReport
from kb.indexes.version_actions import override
from kb.quality.actions import canary, request_validation, shadow
from kb.quality.models import ValidationRequest
from kb.quality.tasks import validate_version_task
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)


def reported(version: IndexVersion, verdict: str) -> ValidationReport:
    return ValidationReport.objects.create(
        version=version, verdict=verdict, reasons=["because"], against=version.index.live_version
    )


def test_a_failed_report_is_overridden_with_a_reason(admin: User, index: Index) -> None:
    version = candidate(index)
    report = reported(version, "fail")
    with pytest.raises(Problem) as refused:
        canary(admin, version, 1)
    assert refused.value.status == 409
    with pytest.raises(Problem):
        override(admin, version, "   ")
    assert override(admin, version, " we judged by hand ") == report
    report.refresh_from_db()
    assert (report.verdict, report.overridden_by, report.override_reason) == (
        "fail", admin, "we judged by hand",
    )  # fmt: skip
    entry = AuditEntry.objects.get(verb="override")
    assert (entry.actor, entry.detail["reason"]) == (admin, "we judged by hand")
    assert canary(admin, version, 1).state == State.CANARY


def test_a_validation_is_requested_and_done_by_a_worker(admin: User, index: Index) -> None:
    version = candidate(index)
    request_validation(admin, version)
    assert AuditEntry.objects.get(verb="request validation").actor == admin
    validate_version_task(version.pk)
    assert ValidationReport.objects.get().version == version
    validate_version_task(version.pk)
    assert ValidationReport.objects.count() == 1, "nothing is asked for any more"
    request_validation(admin, version)
    validate_version_task(version.pk)
    assert ValidationReport.objects.count() == 2, "another time, another report"
    validate_version_task(-1)
    request_validation(admin, version)
    IndexVersion.objects.filter(pk=version.pk).update(state=State.CANCELLED)
    version.refresh_from_db()
    validate_version_task(version.pk)
    assert ValidationReport.objects.count() == 2
    assert not ValidationRequest.objects.exists()
    with pytest.raises(Problem):
        request_validation(admin, version)


def test_a_version_goes_into_shadow_and_its_share_is_changed(admin: User, index: Index) -> None:
    version = candidate(index)
    reported(version, "pass")
    assert shadow(admin, version, 0.25, "to see").shadow_share == 0.25
    version.refresh_from_db()
    assert (version.state, version.shadow_share) == (State.SHADOW, 0.25)
    transitions = IndexTransition.objects.filter(version=version, after=State.SHADOW)
    assert shadow(admin, version, 1.0).shadow_share == 1.0
    assert transitions.count() == 1, "another share is no transition"
    assert AuditEntry.objects.get(verb="share of queries").detail["share"] == 1.0


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(admin: User, index: Index, share: float) -> None:
    with pytest.raises(Problem):
        shadow(admin, candidate(index), share)


def test_a_canary_is_given_more_readers(admin: User, index: Index) -> None:
    version = candidate(index)
    reported(version, "pass")
    assert canary(admin, version, 1).canary_percent == 1
    assert canary(admin, version, 25).canary_percent == 25
    with pytest.raises(Problem):
        canary(admin, version, 30)
    version.refresh_from_db()
    assert version.canary_percent == 25


@pytest.mark.parametrize("state", [State.BUILDING, State.RETIRED, State.CANCELLED, State.LIVE])
def test_what_may_not_go_on_does_not(admin: User, index: Index, state: str) -> None:
    version = candidate(index)
    reported(version, "pass")
    if state != State.LIVE:
        IndexVersion.objects.filter(pk=version.pk).update(state=state)
    else:
        version = index.live_version  # type: ignore[assignment]
    for way in (lambda: shadow(admin, version, 0.5), lambda: canary(admin, version, 1)):
        with pytest.raises(Problem) as refused:
            way()
        assert refused.value.status == 409
