"""Embeddings from any endpoint that speaks OpenAI's embeddings API."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from retrieval.embedders import (
    EmbedderAway,
    EmbeddingError,
    Kind,
    ModelCard,
    Vectors,
    checked_kind,
    unit,
)
from retrieval.embedders.retrying import Patience, asked_to_rest, away

if TYPE_CHECKING:
    from openai import OpenAI

# A question is waited for: it is asked once more, and soon.
HURRIED = Patience(attempts=2, first=0.2, longest=1.0)


class OpenAIEmbedder:
    """Sends texts in batches. After the patience is over, an endpoint that takes none is EmbedderAway; other errors
    of the client are EmbeddingError.

    `dimensions` is asked of the endpoint where given; every answer is checked against it, or against what
    is `expected`; else the first answer says how many there are. Raises EmbeddingError for an answer that
    does not fit. An endpoint that is busy is asked again as `patience` has it: the client should not retry
    on its own.
    """

    def __init__(
        self,
        client: "OpenAI",
        model: str,
        *,
        dimensions: int | None = None,
        query_prompt: str = "",
        document_prompt: str = "",
        max_tokens: int | None = None,
        licence: str = "",
        expected: int | None = None,
        batch_size: int = 64,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._name, self._asked = client, model, dimensions
        self._dimensions = dimensions or expected
        self._patience: Mapping[Kind, Patience] = {"query": HURRIED, "document": patience}
        self._rest = rest
        self._prompts = {"query": query_prompt, "document": document_prompt}
        self._max_tokens, self._licence, self._batch_size = max_tokens, licence, batch_size

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        prompt = self._prompts[checked_kind(kind)]
        batches = [
            self._patiently([prompt + text for text in texts[first : first + self._batch_size]], kind)
            for first in range(0, len(texts), self._batch_size)
        ]
        return np.concatenate([np.empty((0, self._dimensions or 0), np.float32), *batches])

    def describe(self) -> ModelCard:
        """Asks the endpoint for one embedding if the dimensions are not known yet."""
        if self._dimensions is None:
            self.embed(["dimensions"], "document")
        return ModelCard(
            name=self._name,
            revision="",
            weights_sha256="",
            dimensions=self._dimensions or 0,
            max_tokens=self._max_tokens,
            pooling="",
            query_prompt=self._prompts["query"],
            document_prompt=self._prompts["document"],
            backend="openai",
            number_format="float32",
            licence=self._licence,
        )

    def _patiently(self, texts: list[str], kind: Kind) -> Vectors:
        from openai import OpenAIError  # noqa: PLC0415  half a second, which most processes never need

        attempt = 0
        while True:
            attempt += 1
            try:
                return self._batch(texts)
            except OpenAIError as error:
                seconds = self._patience[kind].wait(attempt, error, time.time())
                if seconds is None and away(error):
                    raise EmbedderAway(error, asked_to_rest(error, time.time())) from error
                if seconds is None:
                    raise EmbeddingError(str(error)) from error
            self._rest(seconds)

    def _batch(self, texts: list[str]) -> Vectors:
        from openai import omit  # noqa: PLC0415  half a second, which most processes never need

        # As numbers and not as base64, which not every compatible server knows.
        answer = self._client.embeddings.create(
            model=self._name,
            input=texts,
            encoding_format="float",
            dimensions=omit if self._asked is None else self._asked,
        )
        if sorted(item.index for item in answer.data) != list(range(len(texts))):
            raise EmbeddingError(f"{self._name}: {len(answer.data)} embeddings came for {len(texts)} texts")
        rows = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
        if self._dimensions is None:
            self._dimensions = len(rows[0])
        wrong = {len(row) for row in rows} - {self._dimensions}
        if wrong:
            raise EmbeddingError(f"{self._name}: {min(wrong)} dimensions came instead of {self._dimensions}")
        return unit(np.asarray(rows, np.float64))
