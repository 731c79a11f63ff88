"""What the API takes and gives about searches, questions and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field

from kb.core.schemas import Input
from kb.search.engine import MOST_RESULTS, Results
from retrieval.evidence import Explanation

SYNTAX = (
    'Words, or a whole question; `"exact phrase"`, `-without`, `title:`, `tag:`, `type:`, `after:` and `before:` '
    "restrict it, and what is not well-formed is searched as plain words."
)
Slugs = Annotated[
    list[str] | None,
    Field(min_length=1, max_length=100, description="Slugs; all that you may see where left out."),
]
Passages = Annotated[int, Field(ge=1, le=MOST_RESULTS, description="How many passages to send.")]
ProfileName = Annotated[
    str,
    Field(
        max_length=120,
        description="A retrieval profile's name, for its newest version, or name and number; "
        "only for those who may look at the profiles. The default one where left out.",
    ),
]
Explain = Annotated[bool, Field(description="Say of each passage why it stands where it stands.")]
AsTyped = Annotated[bool, Field(description="Look for unknown words as they are, not for the nearest ones.")]


class SearchIn(Input):
    query: str = Field(description=f"What to look for. {SYNTAX}")
    collections: Slugs = None
    limit: Passages = 10
    profile: ProfileName = ""
    explain: Explain = False
    as_typed: AsTyped = False


class SearchAddress(Schema):
    q: str = Field(description="What to look for.")
    collection: list[str] = Field(
        [], max_length=100, description="Slugs; all that you may see where left out."
    )
    limit: Passages = 10
    profile: ProfileName = ""
    explain: Explain = False
    as_typed: AsTyped = False


class AskIn(Input):
    question: str
    collections: Slugs = None


class ArmShareOut(Schema):
    """What one arm gives to the fused score: `gives` is `weight` × `normalised`."""

    rank: int = Field(description="Counts from 1.")
    score: float = Field(description="Cosine or BM25.")
    normalised: float = Field(description="From 0 to 1.")
    weight: float
    gives: float


class TermShareOut(Schema):
    term: str = Field(description="As it is indexed: stemmed, in lower case.")
    score: float = Field(description="What BM25 gives for it; all terms together are the lexical score.")


class BoostOut(Schema):
    name: Literal["title", "recency"]
    factor: float


class ExplanationOut(Schema):
    """Why a passage stands where it stands: of its best chunk, from what you may see alone."""

    strategy: Literal["convex", "reciprocal_rank", "learned"]
    sentence: str
    dense: ArmShareOut | None = Field(description="Null where this arm did not find it.")
    lexical: ArmShareOut | None = Field(description="Null where this arm did not find it.")
    terms: list[TermShareOut]
    fused: float = Field(description="What both arms give; boosts multiply it.")
    boosts: list[BoostOut]
    reranked: float | None = Field(description="The reranker's score; null where it was not asked.")

    @staticmethod
    def resolve_boosts(explanation: Explanation) -> list[dict[str, Any]]:
        return [{"name": name, "factor": factor} for name, factor in explanation.boosts]


class Plain(BaseModel):
    """Read off an object's attributes as they are: a schema of ninja's looks at each through a wrapper, which for the
    passages of a search took as long as two statements."""

    model_config = ConfigDict(from_attributes=True)


class DuplicateOut(Plain):
    chunk_id: int
    document_id: UUID
    title: str


class CorrectionOut(Plain):
    typed: str
    meant: str = Field(description="A word of a passage that you may see.")


class PassageOut(Plain):
    """Evidence: `text` begins at `start` of the document's text, in Unicode code points."""

    chunk_id: int = Field(description="The best chunk in it, whose scores these are.")
    chunk_ids: list[int] = Field(description="All chunks that the text covers, in its order.")
    document_id: UUID
    title: str
    heading_path: list[str]
    text: str
    start: int
    page: int | None
    score: float = Field(description="Both arms together; from 0 to 1, multiplied by boosts.")
    dense_score: float | None = Field(description="Cosine; null where this arm did not find it.")
    lexical_score: float | None = Field(description="BM25; null where this arm did not find it.")
    duplicates: list[DuplicateOut] = Field(description="Passages that say the same, and so are not sent.")
    explanation: ExplanationOut | None = Field(None, description="Where it was asked for.")


class SearchOut(Schema):
    query_id: UUID
    profile: str = Field(description="The retrieval profile that was used, with its number.")
    version: str = Field(description="Which version of each index served it.")
    words: str = Field(description="What was looked for, without what restricts it.")
    corrections: list[CorrectionOut] = Field(description="Words that no passage has, and what was meant.")
    passages: list[PassageOut] = Field(description="Best first.")
    degraded: str = Field(description="Why one arm was missing, if one was; otherwise empty.")
    notes: list[str] = Field(description="Which other step was left out, and why.")
    empty_because: Literal["", "no_collections", "no_documents"]

    @staticmethod
    def resolve_profile(results: Results) -> str:
        return str(results.query.profile or "")

    @staticmethod
    def resolve_query_id(results: Results) -> UUID:
        return results.query.pk


class ProfileOut(Schema):
    """How a search goes; a changed profile is a new one with the next number."""

    id: int
    name: str
    number: int
    is_default: bool
    strategy: Literal["convex", "reciprocal_rank", "learned"]
    dense_weight: float
    learned_from: dict[str, Any]
    candidates: int
    reranker: str
    rerank_candidates: int
    rerank_milliseconds: int
    diversity: float
    collapse_duplicates: bool
    merge_adjacent: bool
    widen_to_section: bool
    group_by_document: bool
    title_boost: float
    recency_boost: float
    recency_days: int
    passages: int
    context_tokens: int
    created_at: datetime


class CitationOut(Schema):
    """A footnote: the revision's text from `start` to `end` is `quote`, in Unicode code points.

    What was deleted, or may not be seen any more, keeps its marker alone, with `visible` false.
    """

    marker: int
    visible: bool
    document_id: UUID | None
    revision: int | None
    title: str
    page: int | None
    start: int
    end: int
    quote: str


class AnswerOut(Schema):
    """A stored answer as you may see it now: claims whose sources are gone or closed to you are removed."""

    id: UUID
    question: str
    state: Literal["answered", "declined", "failed", "cancelled"]
    text: str = Field(description="With markers such as [1], one for each citation.")
    citations: list[CitationOut]
    error: str = Field(description="Why it failed, or why a model's words were not kept; otherwise empty.")
    degraded: str = Field(description="Why one arm of the search was missing, if one was; otherwise empty.")
    model: str
    version: str = Field(description="Which version of each index served it.")


class NewAnswerOut(AnswerOut):
    closest: list[PassageOut] = Field(description="Where the documents do not answer: what comes closest.")
