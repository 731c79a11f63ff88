"""Batches hold every text once, sorted by length, with little padding."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.embedders import Vectors
from retrieval.embedders.backends import TORCH, Inputs
from retrieval.embedders.backends.tokenised import LENGTH_STEP, Tokenised, batches
from tests.retrieval.embedders.tiny import tiny_tokenizer

SEQUENCES = st.lists(st.lists(st.integers(1, 99), max_size=40), max_size=30)
PAD = 7


@given(SEQUENCES, st.integers(1, 9))
def test_every_text_is_in_one_batch_with_its_tokens(sequences: list[list[int]], size: int) -> None:
    found: dict[int, list[int]] = {}
    for batch in batches(sequences, size, PAD):
        assert len(batch.rows) <= size
        for row, tokens, mask in zip(batch.rows, batch.tokens, batch.mask, strict=True):
            assert int(row) not in found
            found[int(row)] = tokens[mask == 1].tolist()
            assert (tokens[mask == 0] == PAD).all()
    assert [found[row] for row in range(len(sequences))] == sequences


@given(SEQUENCES, st.integers(1, 9))
def test_the_longest_come_first_and_padding_is_bounded(sequences: list[list[int]], size: int) -> None:
    widths = [batch.tokens.shape[1] for batch in batches(sequences, size, PAD)]
    assert widths == sorted(widths, reverse=True)
    for batch in batches(sequences, size, PAD):
        longest = int(batch.mask.sum(axis=1).max())
        assert 0 <= batch.tokens.shape[1] - longest <= max(LENGTH_STEP - 1, LENGTH_STEP * (longest == 0))


class Counting:
    """A network that gives a text's number of tokens, so that rows can be told apart."""

    backend = TORCH

    def vectors(self, batches: Sequence[Inputs]) -> Iterator[Vectors]:
        return (mask.sum(axis=1, keepdims=True).astype(np.float32) for _, mask in batches)


@pytest.mark.parametrize("texts", [["a"], ["a", "cats sleep a a", "cats sleep"], []])
def test_rows_come_back_in_the_order_of_the_texts(texts: Sequence[str]) -> None:
    made = Tokenised(Counting(), tiny_tokenizer(), 0, 1).encode(texts, "query ", 2)
    assert made[:, 0].tolist() == [len(text.split()) + 3 for text in texts]  # the prompt, [CLS] and [SEP]
