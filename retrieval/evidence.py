"""A passage: the span of a document that a search brings back, with what made it rank."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """One chunk as evidence.

    `text` is `document_text[start:start + len(text)]`; `page` counts from 1 and is None where the
    format has no pages. Scores are None for an arm that did not find the chunk.
    """

    chunk_id: int
    document_id: str
    title: str
    heading_path: tuple[str, ...]
    text: str
    start: int
    page: int | None
    score: float
    dense_score: float | None = None
    lexical_score: float | None = None
