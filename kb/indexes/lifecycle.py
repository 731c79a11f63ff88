"""What may become of an index version: the table of legal transitions, and the one way to make them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from kb.core.auditing import record
from kb.core.models import Reader, User
from kb.core.problems import Problem, not_found
from kb.indexes.models import Index, IndexTransition, IndexVersion

State = IndexVersion.State
Actor: TypeAlias = Reader | None
"""Who wants it; None is the system."""

HELD = "held"  # in the table: the state that a paused version was in
LEGAL: Mapping[str, tuple[str, ...]] = {
    State.BUILDING: (State.VALIDATING, State.PAUSED, State.CANCELLED, State.FAILED),
    State.PAUSED: (HELD, State.CANCELLED),
    State.FAILED: (State.BUILDING, State.CANCELLED),
    State.VALIDATING: (State.SHADOW, State.CANARY, State.LIVE, State.CANCELLED, State.FAILED),
    State.SHADOW: (State.CANARY, State.LIVE, State.VALIDATING, State.CANCELLED, State.FAILED),
    State.CANARY: (State.LIVE, State.SHADOW, State.VALIDATING, State.CANCELLED, State.FAILED),
    State.LIVE: (State.RETIRED,),
    State.RETIRED: (State.LIVE, State.DROPPED),
    State.CANCELLED: (State.DROPPED,),
    State.DROPPED: (),
}
ONWARD = (State.VALIDATING, State.SHADOW, State.CANARY, State.LIVE)
BESIDE = (State.SHADOW, State.CANARY)
SERVING = (State.CANARY, State.LIVE)
PERCENTS = (1, 5, 25, 50)
NOT_LET_ON = (
    "No report beside what serves now lets it go on: validate it, or override its report with a reason."
)


@dataclass(frozen=True)
class Standing:
    """What the next transition of a version depends on.

    `let_on`: its last report since it was built compares it with what serves now and passed, or was
    overridden. `alone`: nothing serves yet. `canary_elsewhere`: another version of its index is the canary.
    """

    state: str
    held: str = ""
    built: bool = True
    let_on: bool = True
    alone: bool = False
    canary_elsewhere: bool = False


def refusal(now: Standing, to: str) -> str:
    """Why the version must not go there, in words; empty where it may."""
    legal = tuple(now.held if state == HELD else state for state in LEGAL[now.state])
    reasons = (
        (to not in legal, f"A version that is {now.state} cannot become {to}."),
        (
            to == State.RETIRED,
            "What serves is retired by promoting another version, or by going back to an earlier one.",
        ),
        (to in SERVING and not now.built, "Its vectors have no valid index yet: wait until it is built."),
        (to in BESIDE and now.alone, "Nothing serves in this index that it could run beside: promote it."),
        (goes_on(now.state, to) and not now.let_on, NOT_LET_ON),
        (
            to == State.CANARY and now.canary_elsewhere,
            "Another version of this index is the canary: end that one first.",
        ),
    )
    return next((why for applies, why in reasons if applies), "")


def goes_on(before: str, to: str) -> bool:
    """Whether that is a step towards serving all. Going back to what was serves at once."""
    return before in ONWARD[:-1] and to in ONWARD[ONWARD.index(State(before)) + 1 :]


def legal_moves(version: IndexVersion) -> list[str]:
    """The states that the version may go to now, in the order of its life."""
    now = standing(version)
    return [state for state in State.values if not refusal(now, state)]


def standing(version: IndexVersion) -> Standing:
    canary = IndexVersion.objects.filter(index=version.index_id, state=State.CANARY).exclude(pk=version.pk)
    return Standing(
        state=version.state,
        held=version.held,
        built=version.built_at is not None,
        let_on=let_on(version),
        alone=version.index.live_version_id is None,
        canary_elsewhere=canary.exists(),
    )


def let_on(version: IndexVersion) -> bool:
    """Whether the last report lets it go on. One of before it was built anew says nothing, and one beside a
    version that serves no more only where somebody says why it does."""
    report = version.reports.filter(at__gte=version.built_at).first() if version.built_at else None
    if report is None or not report.lets_on:
        return False
    return bool(report.override_reason) or report.against_id == version.index.live_version_id


@transaction.atomic
def move(version_id: int, to: str, actor: Actor, reason: str, **changes: Any) -> IndexVersion:
    """Brings the version into state `to`; the row, a transition and the audit log, or Problem and nothing.

    With LIVE it is promoted: the index points to it, and what served before is retired and kept warm.
    `changes` are other fields of the row to be written with it, such as `canary_percent`. Of two people
    who want something of the same index at once, one wins; the other is told how it is now.
    """
    version = locked(version_id)
    if why := refusal(standing(version), to):
        raise Problem("transition_refused", f"{version}: {why}", 409, state=version.state)
    before = version.state
    if to == State.LIVE:
        retire_live(version, actor, reason)
    written = consequences(version, to, reason) | changes | {"state": to}
    for name, value in written.items():
        setattr(version, name, value)
    version.save(update_fields=list(written))
    if to == State.LIVE:
        Index.objects.filter(pk=version.index_id).update(live_version=version)
    note(version, before, actor, reason)
    return version


def consequences(version: IndexVersion, to: str, reason: str) -> dict[str, Any]:
    """What the row says beside its state when it goes to `to`."""
    changes: dict[str, Any] = {"held": "", "drop_after": None}
    if to == State.PAUSED:
        changes["held"] = version.state
    if to == State.BUILDING:
        changes |= {"started_at": timezone.now(), "built_at": None, "index_tries": 0}
    if to != State.CANARY:
        changes["canary_percent"] = 0
    if to not in {State.SHADOW, State.CANARY}:
        changes["shadow_share"] = 0.0
    changes["error"] = reason if to == State.FAILED else ""
    return changes


def retire_live(successor: IndexVersion, actor: Actor, reason: str) -> None:
    """What serves until now is kept warm for the time of the soak."""
    old = IndexVersion.objects.select_related("index").filter(index=successor.index_id, state=State.LIVE)
    for version in old:
        version.state = State.RETIRED
        version.drop_after = timezone.now() + timedelta(hours=settings.INDEX_SOAK_HOURS)
        version.save(update_fields=["state", "drop_after"])
        note(version, State.LIVE, actor, f"{successor} took its place: {reason}")


@transaction.atomic
def step(version_id: int, percent: int, actor: Actor, reason: str, before: int | None = None) -> IndexVersion:
    """Lets a canary serve another share of the readers. A step is a transition, too: from canary to canary.

    With `before`, only if it serves so many percent still.
    """
    version = locked(version_id)
    if version.state != State.CANARY:
        raise Problem("transition_refused", f"{version} is {version.state}, no canary.", 409)
    if before is not None and version.canary_percent != before:
        raise Problem("transition_refused", f"{version} serves {version.canary_percent} % by now.", 409)
    if percent > version.canary_percent and not let_on(version):
        raise Problem("transition_refused", f"{version}: {NOT_LET_ON}", 409)
    if percent not in PERCENTS:
        raise Problem("invalid", f"A canary serves one of {PERCENTS} percent.", 422, field="percent")
    version.canary_percent = percent
    version.save(update_fields=["canary_percent"])
    note(version, State.CANARY, actor, f"{percent} %: {reason}")
    return version


def locked(version_id: int) -> IndexVersion:
    """The version as it is now; until the commit nobody else moves one of its index. Searches do not wait."""
    found = IndexVersion.objects.filter(pk=version_id).values_list("index", flat=True).first()
    if found is None:
        raise not_found("index version")
    Index.objects.select_for_update(no_key=True).get(pk=found)
    return IndexVersion.objects.select_related("index", "model", "chunking").get(pk=version_id)


def note(version: IndexVersion, before: str, actor: Actor, reason: str) -> None:
    person = actor if isinstance(actor, User) else None
    IndexTransition.objects.create(
        version=version, before=before, after=version.state, actor=person, reason=reason
    )
    record(actor, version.state, version, before=before, reason=reason)
