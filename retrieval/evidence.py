"""A passage: the span of a document that a search brings back, with what made it rank."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ArmShare:
    """What one arm gives to a hit: `gives` is `weight` × `normalised`; `rank` counts from 1."""

    rank: int
    score: float
    normalised: float
    weight: float
    gives: float


@dataclass(frozen=True)
class TermShare:
    """One term of the question, analysed, and what BM25 gives for it; all terms sum up to the lexical score."""

    term: str
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why a hit stands where it stands.

    `fused` is what both arms give; each of `boosts` (name, factor) multiplies it. `reranked` is the
    reranker's score, by which the best hits were put into a new order, None where it was not asked.
    An arm that did not bring the hit back is None.
    """

    strategy: str
    dense: ArmShare | None
    lexical: ArmShare | None
    terms: tuple[TermShare, ...]
    fused: float
    boosts: tuple[tuple[str, float], ...] = ()
    reranked: float | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Duplicate:
    """A passage that says the same as the one that is shown."""

    chunk_id: int
    document_id: str
    title: str


@dataclass(frozen=True)
class Passage:
    """One chunk, or several that follow each other, as evidence.

    `text` is `document_text[start:start + len(text)]`; `page` counts from 1 and is None where the
    format has no pages. Scores are those of the best chunk, `chunk_id`, and None for an arm that did
    not find it; `chunk_ids` are all that the text covers, in its order. `tokens` is 0 where not counted.
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
    chunk_ids: tuple[int, ...] = ()
    tokens: int = 0
    duplicates: tuple[Duplicate, ...] = ()
    explanation: Explanation | None = None
