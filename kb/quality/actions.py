"""Lets a version go on: past a report that failed, into shadow, to more of the readers; by whom, and why."""

from django.db import transaction

from kb.core.auditing import record
from kb.core.models import Reader, User
from kb.core.problems import Problem
from kb.indexes import lifecycle
from kb.indexes.models import IndexVersion, ValidationReport
from retrieval.rollout import STEPS

State = IndexVersion.State


@transaction.atomic
def override(actor: Reader | None, version: IndexVersion, reason: str) -> ValidationReport:
    """Overrides the version's last report, which failed; the reason is kept with it and in the audit log."""
    if not reason.strip():
        raise Problem("invalid", "Say why this version may go on all the same.", field="reason")
    report = ValidationReport.objects.select_for_update().filter(version=version).first()
    if report is None:
        raise Problem("not_validated", f"{version} has no report yet: validate it first.", 409)
    if report.lets_on:
        raise Problem("not_needed", f"The last report lets {version} go on already.", 409)
    report.overridden_by = actor if isinstance(actor, User) else None
    report.override_reason = reason.strip()
    report.save(update_fields=["overridden_by", "override_reason"])
    record(actor, "override report", version, report=report.pk, reason=report.override_reason)
    return report


@transaction.atomic
def shadow(actor: Reader | None, version: IndexVersion, share: float, reason: str = "") -> IndexVersion:
    """Runs `share` (over 0, up to 1) of the live queries on the version, too; one in shadow gets another share."""
    if not 0 < share <= 1:
        raise Problem("invalid", "The share of the queries lies between 0 and 1.", field="share")
    if not IndexVersion.objects.select_for_update(no_key=True).filter(pk=version.pk, state=State.SHADOW):
        return lifecycle.move(version.pk, State.SHADOW, actor, reason, shadow_share=share)
    IndexVersion.objects.filter(pk=version.pk).update(shadow_share=share)
    record(actor, "share of queries", version, share=share, reason=reason)
    version.refresh_from_db()
    return version


def canary(actor: Reader | None, version: IndexVersion, percent: int, reason: str = "") -> IndexVersion:
    """Serves `percent` of the readers by the version; one that is the canary gets another share of them."""
    if percent not in STEPS:
        steps = ", ".join(map(str, STEPS))
        raise Problem("invalid", f"A canary serves one of {steps} percent.", field="percent")
    now = IndexVersion.objects.filter(pk=version.pk).values_list("state", flat=True).first()
    if now == State.CANARY:
        return lifecycle.step(version.pk, percent, actor, reason)
    return lifecycle.move(version.pk, State.CANARY, actor, reason, canary_percent=percent)
