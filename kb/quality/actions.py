"""Measures a version, runs queries beside on it, gives it readers: each by somebody who says why."""

from django.db import transaction
from django.utils import timezone

from kb.core.auditing import record
from kb.core.models import Reader, User
from kb.core.problems import Problem
from kb.core.waking import wake_on_commit
from kb.indexes import lifecycle
from kb.indexes.models import IndexVersion
from kb.quality.models import ValidationRequest
from kb.quality.tasks import validate_version_task
from kb.quality.validating import MEASURABLE
from retrieval.rollout import STEPS

State = IndexVersion.State


@transaction.atomic
def request_validation(actor: Reader | None, version: IndexVersion) -> None:
    """Has a worker measure the version; its report is there some minutes later.

    What is asked for already is not done twice.
    """
    if version.state not in MEASURABLE:
        raise Problem("not_measurable", f"{version} is {version.state}: it is not to be measured now.", 409)
    person = actor if isinstance(actor, User) else None
    ValidationRequest.objects.update_or_create(
        version=version, defaults={"actor": person, "at": timezone.now(), "tries": 0}
    )
    record(actor, "request validation", version)
    wake_on_commit(validate_version_task, version.pk)


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
