"""The fake embedder ranks sensibly and always the same."""

import numpy as np
import pytest

from retrieval.embedders.hashing import HashingEmbedder
from tests.contracts import EmbedderContract


class TestHashingEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> HashingEmbedder:
        return HashingEmbedder()


FROZEN = [0.6047079, 0.2591605, 0.0, 0.0, 0.2591605, 0.6047079, 0.2591605, -0.2591605]


def test_the_same_text_gives_the_same_vector_in_every_process() -> None:
    vector = HashingEmbedder(8).embed(["the index of vectors"], "document")[0]
    np.testing.assert_allclose(vector, FROZEN, atol=1e-6)


def test_misspelt_words_are_still_near() -> None:
    vectors = HashingEmbedder().embed(["embeddings", "embedings", "violins"], "document")
    assert vectors[0] @ vectors[1] > 0.2 > vectors[0] @ vectors[2]


@pytest.mark.parametrize("text", ["", "the", "?", "\ud800"])
def test_texts_without_words_have_a_vector_too(text: str) -> None:
    assert np.linalg.norm(HashingEmbedder(16).embed([text], "query")) == pytest.approx(1)


def test_it_says_what_it_is() -> None:
    card = HashingEmbedder(64).describe()
    assert (card.name, card.dimensions) == ("hashing", 64)


def test_no_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        HashingEmbedder(0)
