"""What goes in and out of the API of measuring and rolling out."""

from datetime import datetime
from typing import Any

from ninja import Field, Schema

from kb.indexes.models import ValidationReport
from kb.search.rollout import Step


class ReportOut(Schema):
    """What was measured of a version, and whether it may go on by that."""

    at: datetime
    verdict: str
    lets_on: bool
    against: int | None = Field(description="The number of the version that was live then.")
    reasons: list[str]
    override_reason: str
    figures: dict[str, Any]

    @staticmethod
    def resolve_against(report: ValidationReport) -> int | None:
        return report.against.number if report.against else None


class OverrideIn(Schema):
    reason: str = Field(min_length=1, max_length=500)


class ShadowIn(Schema):
    share: float = Field(gt=0, le=1, description="Of the queries, which run on the version as well.")
    reason: str = Field("", max_length=500)


class CanaryIn(Schema):
    percent: int = Field(description="Of the readers, whom the version serves: 1, 5, 25 or 50.")
    reason: str = Field("", max_length=500)


class ShadowOut(Schema):
    """Means over the queries that were compared; 95th percentiles in milliseconds."""

    count: int
    overlap: float | None
    rbo: float | None
    score_shift: float | None
    failed: int
    live_ms: float | None
    candidate_ms: float | None
    prefer_live: int
    prefer_candidate: int
    equal: int


class GuardrailOut(Schema):
    name: str
    candidate: float | None
    live: float | None
    broken: bool
    reason: str


class CanaryOut(Schema):
    """A canary's step: what both sides did since it began, and what becomes of it by that."""

    since: datetime
    queries: int
    live_queries: int
    clicked: int = Field(description="Searches of which a result was opened.")
    live_clicked: int
    action: str
    reasons: list[str]
    guardrails: list[GuardrailOut]

    @staticmethod
    def resolve_queries(step: Step) -> int:
        return step.candidate.queries

    @staticmethod
    def resolve_live_queries(step: Step) -> int:
        return step.live.queries

    @staticmethod
    def resolve_clicked(step: Step) -> int:
        return step.candidate.clicked

    @staticmethod
    def resolve_live_clicked(step: Step) -> int:
        return step.live.clicked

    @staticmethod
    def resolve_action(step: Step) -> str:
        return step.decision.action

    @staticmethod
    def resolve_reasons(step: Step) -> list[str]:
        return list(step.decision.reasons)

    @staticmethod
    def resolve_guardrails(step: Step) -> list[Any]:
        return list(step.decision.guardrails)
