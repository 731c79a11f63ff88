"""The endpoint's answers are checked, ordered and normalised; no socket is opened."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from retrieval.embedders import EmbeddingError
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.embedders.openai_compatible import OpenAIEmbedder
from tests.contracts import EmbedderContract

Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


def hashed(request: dict[str, Any]) -> list[dict[str, Any]]:
    """What an endpoint gives: not normalised, and here not in order either."""
    vectors = HashingEmbedder(request.get("dimensions", 384)).embed(request["input"], "document") * 3
    return [{"index": i, "embedding": row.tolist(), "object": "embedding"} for i, row in enumerate(vectors)][
        ::-1
    ]


def client(answer: Answer, requests: list[dict[str, Any]] | None = None) -> openai.OpenAI:
    def respond(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        if requests is not None:
            requests.append(body)
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return httpx2.Response(
            200, json={"object": "list", "model": body["model"], "data": answer(body), "usage": usage}
        )

    return openai.OpenAI(
        api_key="-",
        base_url="http://endpoint.test/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(respond)),
    )


class TestOpenAIEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> OpenAIEmbedder:
        return OpenAIEmbedder(client(hashed), "some-model", batch_size=2)


def test_texts_are_sent_in_batches_with_the_prompt_of_their_kind() -> None:
    requests: list[dict[str, Any]] = []
    embedder = OpenAIEmbedder(
        client(hashed, requests), "m", query_prompt="query: ", document_prompt="passage: ", batch_size=2
    )
    embedder.embed(["a", "b", "c"], "document")
    embedder.embed(["d"], "query")
    sent = [["passage: a", "passage: b"], ["passage: c"], ["query: d"]]
    assert [request["input"] for request in requests] == sent
    assert all("dimensions" not in request for request in requests)


def test_dimensions_are_asked_for_where_given() -> None:
    requests: list[dict[str, Any]] = []
    embedder = OpenAIEmbedder(client(hashed, requests), "m", dimensions=32)
    assert embedder.embed(["a"], "query").shape == (1, 32)
    assert requests[0]["dimensions"] == 32


def test_the_card_learns_the_dimensions() -> None:
    card = OpenAIEmbedder(client(hashed), "m", query_prompt="q: ").describe()
    assert (card.name, card.dimensions, card.query_prompt, card.backend) == ("m", 384, "q: ", "openai")


def row(index: int, *vector: float) -> dict[str, Any]:
    return {"index": index, "embedding": list(vector), "object": "embedding"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([row(0, 1, 0)], "1 embeddings came for 2 texts"),
        ([row(0, 1, 0), row(0, 0, 1)], "2 embeddings came for 2 texts"),
        ([row(0, 1, 0), row(1, 0, 1), row(2, 0, 1)], "3 embeddings came for 2 texts"),
        ([row(0, 1, 0, 0), row(1, 0, 1, 0)], "3 dimensions came instead of 2"),
        ([row(0, 1, 0), row(1, 1)], "1 dimensions came instead of 2"),
        ([row(0, 1, 0), row(1, 0, 0)], "zero"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(answer: list[dict[str, Any]], message: str) -> None:
    embedder = OpenAIEmbedder(client(lambda _: answer), "m", dimensions=2)
    with pytest.raises(EmbeddingError, match=message):
        embedder.embed(["a", "b"], "document")


def test_later_answers_must_have_the_dimensions_of_the_first() -> None:
    answers = iter([[row(0, 1, 0)], [row(0, 1, 0, 0)]])
    embedder = OpenAIEmbedder(client(lambda _: next(answers)), "m", batch_size=1)
    with pytest.raises(EmbeddingError, match="3 dimensions came instead of 2"):
        embedder.embed(["a", "b"], "document")


def test_vectors_have_unit_length() -> None:
    vectors = OpenAIEmbedder(client(lambda _: [row(0, 3, 4)]), "m").embed(["a"], "query")
    np.testing.assert_allclose(vectors, [[0.6, 0.8]], atol=1e-6)
