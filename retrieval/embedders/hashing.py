"""The fake embedder: hashed words and character n-grams, so that texts that share words are near."""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from retrieval.analysis import analyse, fold
from retrieval.embedders import Kind, ModelCard, Vectors, checked_kind, unit

NGRAM = 4
NGRAM_WEIGHT = 0.3


class HashingEmbedder:
    """Feature hashing with signs (Weinberger et al. 2009); needs no model, and always agrees with itself."""

    def __init__(self, dimensions: int = 384) -> None:
        if dimensions < 1:
            raise ValueError(f"An embedding needs at least one dimension, not {dimensions}")
        self.dimensions = dimensions

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        checked_kind(kind)
        vectors = np.zeros((len(texts), self.dimensions))
        for row, text in zip(vectors, texts, strict=True):
            for feature, weight in _features(text):
                position, sign = divmod(zlib.crc32(feature.encode("utf-8", "replace")), 2)
                row[position % self.dimensions] += weight if sign else -weight
            if not row.any():  # nothing to hash, or all of it cancelled out
                row[0] = 1.0
        return unit(vectors)

    def describe(self) -> ModelCard:
        return ModelCard(
            name="hashing",
            revision="1",
            weights_sha256="",
            dimensions=self.dimensions,
            max_tokens=None,
            pooling="sum",
            query_prompt="",
            document_prompt="",
            backend="numpy",
            number_format="float32",
            licence="MIT",
        )


def _features(text: str) -> Iterator[tuple[str, float]]:
    for term, count in Counter(analyse(text)).items():
        yield term, float(1 + np.log(count))
    for word in set(fold(text).split()):
        for start in range(len(word) - NGRAM + 1):
            yield f"#{word[start : start + NGRAM]}", NGRAM_WEIGHT
