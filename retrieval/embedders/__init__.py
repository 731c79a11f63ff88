"""Text to vectors: one provider a file, behind one method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Kind: TypeAlias = Literal["query", "document"]
Vectors: TypeAlias = NDArray[np.float32]


class EmbeddingError(Exception):
    """A provider gave something other than one usable vector for each text."""


class EmbedderAway(EmbeddingError):
    """A provider takes no texts at present, whichever they are. It asked for `seconds` of rest, None if it did not."""

    def __init__(self, reason: object, seconds: float | None = None) -> None:
        super().__init__(str(reason))
        self.seconds = seconds


@dataclass(frozen=True)
class ModelCard:
    """Where vectors come from. Two embedders with equal cards give comparable vectors.

    `weights_sha256` is empty for a model behind an endpoint, `max_tokens` None where unknown.
    """

    name: str
    revision: str
    weights_sha256: str
    dimensions: int
    max_tokens: int | None
    pooling: str
    query_prompt: str
    document_prompt: str
    backend: str
    number_format: str
    licence: str


class Embedder(Protocol):
    """Safe to call from several threads."""

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """float32 (n, dimensions), of unit length, in the order of `texts`. Prompts are added here."""
        ...


class DescribedEmbedder(Embedder, Protocol):
    """An embedder that can say which model it is."""

    def describe(self) -> ModelCard: ...


def checked_kind(kind: Kind) -> Kind:
    """`kind` itself. A misspelt one would quietly use the wrong prompt: ValueError."""
    if kind not in get_args(Kind):
        raise ValueError(f"An embedding is of a query or a document, not of {kind!r}")
    return kind


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Each row divided by its length. Raises EmbeddingError for a row without direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise EmbeddingError("A vector is zero or not finite, and has no direction")
    return np.asarray(vectors / lengths, dtype=np.float32)
