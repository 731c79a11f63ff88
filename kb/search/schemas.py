"""What the API takes and gives about searches, questions and answers."""

from typing import Annotated, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from kb.core.schemas import Input
from kb.search.engine import MOST_RESULTS, Results

Slugs = Annotated[
    list[str] | None,
    Field(max_length=100, description="Slugs; all that you may see where left out."),
]
Passages = Annotated[int, Field(ge=1, le=MOST_RESULTS, description="How many passages to send.")]


class SearchIn(Input):
    query: str = Field(description="What to look for.")
    collections: Slugs = None
    limit: Passages = 10


class SearchAddress(Schema):
    q: str = Field(description="What to look for.")
    collection: list[str] = Field(
        [], max_length=100, description="Slugs; all that you may see where left out."
    )
    limit: Passages = 10


class AskIn(Input):
    question: str
    collections: Slugs = None


class PassageOut(Schema):
    """A chunk as evidence: `text` begins at `start` of the document's text, in Unicode code points."""

    chunk_id: int
    document_id: UUID
    title: str
    heading_path: list[str]
    text: str
    start: int
    page: int | None
    score: float = Field(description="Both arms together; from 0 to 1.")
    dense_score: float | None = Field(description="Cosine; null where this arm did not find it.")
    lexical_score: float | None = Field(description="BM25; null where this arm did not find it.")


class SearchOut(Schema):
    query_id: UUID
    passages: list[PassageOut] = Field(description="Best first.")
    degraded: str = Field(description="Why one arm was missing, if one was; otherwise empty.")
    empty_because: Literal["", "no_collections", "no_documents"]

    @staticmethod
    def resolve_query_id(results: Results) -> UUID:
        return results.query.pk


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


class NewAnswerOut(AnswerOut):
    closest: list[PassageOut] = Field(description="Where the documents do not answer: what comes closest.")
