"""The first dimensions of another embedder's vectors (Matryoshka representation, Kusupati et al. 2022)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retrieval.embedders import DescribedEmbedder, Kind, ModelCard, Vectors, unit


@dataclass(frozen=True, eq=False)
class Truncated:
    """`inner`'s vectors cut to `dimensions` and brought to unit length again.

    Any model can be cut so; how good the rest is depends on its training. EmbeddingError where nothing is
    left of a vector.
    """

    inner: DescribedEmbedder
    dimensions: int

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        return unit(self.inner.embed(texts, kind)[:, : self.dimensions])

    def describe(self) -> ModelCard:
        return replace(self.inner.describe(), dimensions=self.dimensions)
