"""An embedder that keeps what it was asked for, and fails where it is told to."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from kb.indexes import embedding, embedding_queue, providers
from kb.indexes.models import IndexVersion
from retrieval.embedders import DescribedEmbedder, Kind, ModelCard, Vectors


class Counting:
    """The version's own embedder, counted; `fails` says of which text it cannot make a vector."""

    def __init__(
        self,
        version: IndexVersion,
        fails: Callable[[str], bool] = lambda _: False,
        number_format: str | None = None,
    ) -> None:
        self.inner: DescribedEmbedder = providers.embedder(version.model)
        self.fails, self.number_format = fails, number_format
        self.calls: list[list[str]] = []

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        self.calls.append(list(texts))
        if any(self.fails(text) for text in texts):
            raise RuntimeError("no vector for this")
        return self.inner.embed(texts, kind)

    def describe(self) -> ModelCard:
        card = self.inner.describe()
        return replace(card, number_format=self.number_format) if self.number_format else card


def embed_all(version: IndexVersion, embedder: DescribedEmbedder) -> None:
    """Works the queue off, as workers would."""
    while inputs := embedding_queue.lease(version):
        embedding.embed_batch(version, inputs, embedder)
