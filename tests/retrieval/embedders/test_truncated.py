"""The first dimensions, of unit length again, and the card that says how many."""

import numpy as np
import pytest

from retrieval.embedders import EmbeddingError, Kind, ModelCard, Vectors
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.embedders.truncated import Truncated

TEXTS = ["apples and pears from the orchard", "the trial found no difference between the groups"]


def test_it_is_the_beginning_of_the_vector() -> None:
    whole, part = HashingEmbedder(384), Truncated(HashingEmbedder(384), 256)
    wanted = whole.embed(TEXTS, "document")[:, :256]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    made = part.embed(TEXTS, "document")
    assert made.shape == (2, 256)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, wanted, atol=1e-6)
    assert part.embed([], "query").shape == (0, 256)


def test_the_card_says_how_many() -> None:
    assert Truncated(HashingEmbedder(384), 128).describe().dimensions == 128


class Late:
    """Has all that it knows in its last dimension."""

    def embed(self, texts: list[str], kind: Kind) -> Vectors:
        return np.tile(np.array([0, 0, 1], np.float32), (len(texts), 1))

    def describe(self) -> ModelCard:
        return HashingEmbedder(3).describe()


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(EmbeddingError):
        Truncated(Late(), 2).embed(["a"], "query")
