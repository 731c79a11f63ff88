"""What the API takes and gives about the life of index versions."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from ninja import Schema
from pydantic import Field

from kb.indexes.building import Phase
from kb.indexes.estimates import Estimate
from kb.indexes.lifecycle import legal_moves
from kb.indexes.models import EmbeddingModel, IndexTransition, IndexVersion, ValidationReport
from kb.indexes.schemas import VersionOut
from kb.indexes.watching import look

Action = Literal["pause", "resume", "cancel", "promote", "retire"]


class ReasonIn(Schema):
    reason: str = Field("", max_length=2000, description="Why, for the audit log.")


class RollbackIn(ReasonIn):
    serving: int | None = Field(
        None, description="The number of the version that serves; 409 if another one does by now."
    )


class WantedIn(ReasonIn):
    """What a new version is to be; what is left out is as in the live version."""

    model: str | None = Field(None, description="The name of a registered model.")
    chunk_tokens: int | None = Field(
        None, description="Cut all documents anew, into chunks of up to so many tokens."
    )
    dimensions: int | None = Field(
        None, description="The first so many, where the model was trained for that."
    )
    storage: Literal["vector", "halfvec", "bit"] | None = None
    hnsw_m: int | None = None
    hnsw_ef_construction: int | None = None
    hnsw_ef_search: int | None = None
    derive: bool = Field(True, description="Compute vectors of stored ones where that is exact.")


class PhaseOut(Schema):
    """`done` of `total` chunks have their vector."""

    name: str
    done: int
    total: int
    given_up: int = Field(description="Chunks that could not be embedded.")
    paused: int = Field(description="Chunks of documents that people hold back.")
    uncut: int = Field(description="Documents that are still to be cut.")
    graph: float | None = Field(description="How far its index is, from 0 to 1, while it is built.")


class EstimateOut(Schema):
    """What is left to be done for a version."""

    chunks: int
    tokens: int
    rate: float | None = Field(description="Chunks a second.")
    seconds: float | None
    cost: float | None = Field(description="In the currency of the model's price.")
    watt_hours: float | None
    derived: bool = Field(description="Computed of stored vectors, without the model.")
    rough: bool = Field(
        description="Documents are still to be cut: the chunks are those of the live version."
    )


class TransitionOut(Schema):
    at: datetime
    before: str
    after: str
    actor: str | None = Field(description="Null: Footnote itself.")
    reason: str

    @staticmethod
    def resolve_actor(transition: IndexTransition) -> str | None:
        return transition.actor.username if transition.actor else None


class ReportOut(Schema):
    at: datetime
    verdict: str
    reasons: list[str]
    override_reason: str


class VersionDetailOut(VersionOut):
    """A version in full: how far it is, where it came from, and what may become of it."""

    index: str
    chunking: int
    derived_from: int | None = Field(description="The number of the version whose vectors it is computed of.")
    canary_percent: int
    shadow_share: float
    drop_after: datetime | None
    error: str
    phase: PhaseOut
    left: EstimateOut | None = Field(description="What its build still takes; null where it is over.")
    moves: list[str] = Field(description="The states that it may go to now.")
    report: ReportOut | None = Field(description="The last validation.")
    transitions: list[TransitionOut] = Field(description="Oldest first.")

    @staticmethod
    def resolve_index(version: IndexVersion) -> str:
        return version.index.slug

    @staticmethod
    def resolve_chunking(version: IndexVersion) -> int:
        return version.chunking_id

    @staticmethod
    def resolve_derived_from(version: IndexVersion) -> int | None:
        return version.derived_from.number if version.derived_from else None

    @staticmethod
    def resolve_phase(version: IndexVersion) -> Phase:
        return look(version).phase

    @staticmethod
    def resolve_left(version: IndexVersion) -> Estimate | None:
        return look(version).left

    @staticmethod
    def resolve_moves(version: IndexVersion) -> list[str]:
        return legal_moves(version)

    @staticmethod
    def resolve_report(version: IndexVersion) -> ValidationReport | None:
        return version.reports.first()

    @staticmethod
    def resolve_transitions(version: IndexVersion) -> list[IndexTransition]:
        return list(version.transitions.select_related("actor").order_by("at", "pk"))


class ModelOut(Schema):
    """An embedding model that versions can be built with."""

    name: str
    provider: str
    revision: str
    weights_sha256: str
    dimensions: int
    max_tokens: int | None
    query_prompt: str
    document_prompt: str
    base_url: str
    price_per_million_tokens: float | None
    matryoshka: list[int] = Field(description="The numbers of its first dimensions that stand alone.")

    @staticmethod
    def resolve_max_tokens(model: EmbeddingModel) -> int | None:
        return model.max_tokens or None

    @staticmethod
    def resolve_matryoshka(model: EmbeddingModel) -> list[int]:
        return list(model.training.get("matryoshka", ()))


class ModelsOut(Schema):
    items: list[ModelOut]


class ModelIn(Schema):
    """What is said of a model; the rest it says itself. Prompts that are left out are the model's own."""

    name: str = Field(
        min_length=1,
        max_length=200,
        description="A directory, a name on the Hub, or what the endpoint calls it.",
    )
    base_url: str = Field("", max_length=200, description="Of an OpenAI-compatible endpoint.")
    revision: str = Field("", max_length=100)
    dimensions: int | None = Field(None, ge=1, description="That the endpoint is asked for.")
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_tokens: int | None = Field(None, ge=1, description="That it reads, where it does not say so.")
    price_per_million_tokens: Decimal | None = Field(None, ge=0, lt=10**6)
    licence: str = Field("", max_length=100)
    matryoshka: list[int] = Field(
        default_factory=list, description="The numbers of its first dimensions that stand alone."
    )
    training_set_sha256: str = Field("", max_length=64)


class ModelNamedIn(Schema):
    name: str


class TrialOut(Schema):
    """What a model did with two texts."""

    ok: bool
    dimensions: int
    seconds: float = Field(description="For a text.")
    cosine: float = Field(description="How near the two are.")
    problems: list[str]


class IndexIn(Schema):
    slug: str = Field(max_length=50, description="Letters, digits and hyphens.")
    name: str = Field("", max_length=100)


class MoveIn(Schema):
    index: str = Field(description="The short name of the index.")


class MoveOut(Schema):
    """A collection on its way into an index, or there."""

    collection: str
    index: str
    there: bool
    since: datetime | None
