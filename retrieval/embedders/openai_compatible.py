"""Embeddings from any endpoint that speaks OpenAI's embeddings API."""

from collections.abc import Sequence

import numpy as np
import openai

from retrieval.embedders import EmbeddingError, Kind, ModelCard, Vectors, checked_kind, unit


class OpenAIEmbedder:
    """Sends texts in batches. The client's own errors (openai.OpenAIError) pass through.

    `dimensions` is asked of the endpoint where given, and every answer is checked against it; else
    the first answer says how many there are. Raises EmbeddingError for an answer that does not fit.
    """

    def __init__(
        self,
        client: openai.OpenAI,
        model: str,
        *,
        dimensions: int | None = None,
        query_prompt: str = "",
        document_prompt: str = "",
        max_tokens: int | None = None,
        licence: str = "",
        batch_size: int = 64,
    ) -> None:
        self._client, self._name, self._asked = client, model, dimensions
        self._dimensions = dimensions
        self._prompts = {"query": query_prompt, "document": document_prompt}
        self._max_tokens, self._licence, self._batch_size = max_tokens, licence, batch_size

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        prompt = self._prompts[checked_kind(kind)]
        batches = [
            self._batch([prompt + text for text in texts[first : first + self._batch_size]])
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

    def _batch(self, texts: list[str]) -> Vectors:
        # As numbers and not as base64, which not every compatible server knows.
        answer = self._client.embeddings.create(
            model=self._name,
            input=texts,
            encoding_format="float",
            dimensions=openai.omit if self._asked is None else self._asked,
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
