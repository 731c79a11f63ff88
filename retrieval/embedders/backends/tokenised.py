"""Texts to a network's batches: tokenised all at once, sorted by length, padded as little as possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from retrieval.embedders import Vectors
from retrieval.embedders.backends import Backend, Network

# OpenVINO prepares its kernels per shape and keeps them: fewer shapes are less memory and less time.
LENGTH_STEP = 8


@dataclass(frozen=True)
class Batch:
    """`rows` are the places of the texts in what was given; both arrays are (n, length)."""

    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    mask: NDArray[np.int64]


class Tokenised:
    """A network with its tokenizer, which truncates and does not pad."""

    def __init__(self, network: Network, tokenizer: Tokenizer, pad_token: int, dimensions: int) -> None:
        self.backend: Backend = network.backend
        self.network, self.tokenizer = network, tokenizer
        self.pad_token, self.dimensions = pad_token, dimensions

    def encode(self, texts: Sequence[str], prompt: str, batch_size: int) -> Vectors:
        encodings = self.tokenizer.encode_batch([prompt + text for text in texts])
        made = np.empty((len(texts), self.dimensions), np.float32)
        given = list(batches([encoding.ids for encoding in encodings], batch_size, self.pad_token))
        found = self.network.vectors([(batch.tokens, batch.mask) for batch in given])
        for batch, vectors in zip(given, found, strict=True):
            made[batch.rows] = vectors
        return made


def batches(sequences: Sequence[Sequence[int]], batch_size: int, pad_token: int) -> Iterator[Batch]:
    """The longest first, so that memory is at its peak at once and not at the end."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    order = np.argsort(-lengths, kind="stable")
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        # A text may have no tokens at all, but no network takes a batch without a column.
        longest = max(1, int(lengths[rows[0]]))
        width = -(-longest // LENGTH_STEP) * LENGTH_STEP
        tokens = np.full((len(rows), width), pad_token, np.int64)
        for place, row in enumerate(rows):
            tokens[place, : lengths[row]] = sequences[row]
        mask = (np.arange(width) < lengths[rows][:, None]).astype(np.int64)
        yield Batch(rows, tokens, mask)
