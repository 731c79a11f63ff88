"""The steps that a person may take with a version now, for buttons: what lifecycle allows, and what is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from django import forms

from kb.core.models import User
from kb.indexes import lifecycle, version_actions
from kb.indexes.lifecycle import legal_moves
from kb.indexes.models import IndexVersion
from kb.quality import actions
from kb.quality.forms import OverrideForm, PercentForm, ReasonForm, ShareForm
from kb.quality.validating import MEASURABLE

State = IndexVersion.State
Said: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One button. `form` asks for more before it is done; without one a click does it."""

    name: str
    label: str
    act: Callable[[User, IndexVersion, Said], object]
    form: type[forms.Form] | None = None
    main: bool = False
    explanation: str = ""


def simple(action: Callable[..., object]) -> Callable[[User, IndexVersion, Said], object]:
    return lambda user, version, said: action(user, version, said.get("reason", ""))


def moving(state: str) -> Callable[[User, IndexVersion, Said], object]:
    return lambda user, version, said: lifecycle.move(version.pk, state, user, said.get("reason", ""))


STEPS = {
    step.name: step
    for step in (
        Step("validate", "Validate", lambda user, version, _: actions.request_validation(user, version)),
        Step(
            "override", "Override the report",
            lambda user, version, said: version_actions.override(user, version, said["reason"]),
            OverrideForm, explanation="The report failed, or compares it with what serves no more. Whoever overrides "
            "it is named with the reason.",
        ),
        Step(
            "shadow", "Run in shadow",
            lambda user, version, said: actions.shadow(user, version, said["share"], said["reason"]),
            ShareForm, explanation="A share of the queries runs on it as well, after the readers have their answers.",
        ),
        Step(
            "canary", "Serve as canary",
            lambda user, version, said: actions.canary(user, version, said["percent"], said["reason"]),
            PercentForm,
            explanation="It serves a share of the readers. It has more of them on a schedule while it is healthy, "
            "and goes back by itself when it is not.",
        ),
        Step(
            "share", "Change the share",
            lambda user, version, said: actions.shadow(user, version, said["share"], said["reason"]), ShareForm,
        ),
        Step(
            "percent", "Change the percentage",
            lambda user, version, said: actions.canary(user, version, said["percent"], said["reason"]), PercentForm,
        ),
        Step(
            "promote", "Promote", simple(version_actions.promote), ReasonForm, main=True,
            explanation="It serves everybody from the next search on. What serves now is kept warm, to go back to.",
        ),
        Step("rollback", "Go back to this version", simple(version_actions.promote), main=True),
        Step("take_back", "Take back", moving(State.FAILED)),
        Step("validating", "Back to validation", moving(State.VALIDATING)),
        Step("pause", "Pause", simple(version_actions.pause)),
        Step("resume", "Resume", simple(version_actions.resume)),
        Step(
            "cancel", "Cancel", simple(version_actions.cancel), ReasonForm,
            explanation="The version is given up, and its vectors are deleted.",
        ),
        Step(
            "drop", "Drop", simple(version_actions.drop), ReasonForm,
            explanation="Its vectors are deleted: nobody can go back to it any more.",
        ),
    )
}  # fmt: skip
# Which button makes which move; what stands here by its state, too, is another thing from there.
MOVES: Mapping[str | tuple[str, str], str] = {
    State.BUILDING: "resume",
    State.SHADOW: "shadow",
    State.CANARY: "canary",
    State.LIVE: "promote",
    State.PAUSED: "pause",
    State.CANCELLED: "cancel",
    State.DROPPED: "drop",
    (State.RETIRED, State.LIVE): "rollback",
    (State.CANARY, State.FAILED): "take_back",
    (State.SHADOW, State.VALIDATING): "validating",
    (State.CANARY, State.VALIDATING): "validating",
}


def offered(version: IndexVersion) -> list[Step]:
    """The buttons of a version, in the order of its life. That a build is done or failed is for the machinery to
    say, but a canary can be taken back."""
    names = [MOVES.get((version.state, move)) or MOVES.get(move) for move in legal_moves(version)]
    if version.state in MEASURABLE:
        names.append("validate")
    if version.state in MEASURABLE and version.reports.exists() and not lifecycle.let_on(version):
        names.append("override")
    names += {State.SHADOW: ["share"], State.CANARY: ["percent"]}.get(State(version.state), [])
    return [step for name, step in STEPS.items() if name in names]
