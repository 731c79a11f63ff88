"""The endpoint's answers are checked, ordered and normalised; no socket is opened."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from retrieval.embedders import EmbedderAway, EmbeddingError, Kind
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
        # Not as `json`: what an endpoint sends may be no valid JSON, such as NaN.
        sent = {"object": "list", "model": body["model"], "data": answer(body), "usage": usage}
        return httpx2.Response(200, content=json.dumps(sent), headers={"content-type": "application/json"})

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


def test_what_is_expected_is_checked_and_not_asked_for() -> None:
    requests: list[dict[str, Any]] = []
    embedder = OpenAIEmbedder(client(hashed, requests), "m", expected=384)
    assert embedder.embed(["a"], "document").shape == (1, 384)
    assert "dimensions" not in requests[0]
    with pytest.raises(EmbeddingError, match="384 dimensions came instead of 256"):
        OpenAIEmbedder(client(hashed), "m", expected=256).embed(["a"], "document")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_numbers_that_are_none_are_refused(bad: float | None) -> None:
    answer = [{"index": 0, "embedding": [1.0, bad], "object": "embedding"}]
    with pytest.raises(EmbeddingError, match="not finite"):
        OpenAIEmbedder(client(lambda _: answer), "m").embed(["a"], "document")


class Busy:
    """An endpoint that answers with these statuses and headers first; `rests` are the waits between."""

    def __init__(self, *refusals: tuple[int, dict[str, str]]) -> None:
        self.refusals, self.asked, self.rests = list(refusals), 0, list[float]()

    def client(self) -> openai.OpenAI:
        def respond(request: httpx2.Request) -> httpx2.Response:
            self.asked += 1
            if self.refusals:
                status, headers = self.refusals.pop(0)
                return httpx2.Response(status, headers=headers, json={"error": {"message": "busy"}})
            body = json.loads(request.content)
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return httpx2.Response(
                200, json={"object": "list", "model": "m", "data": hashed(body), "usage": usage}
            )

        return openai.OpenAI(
            api_key="-",
            base_url="http://endpoint.test/v1",
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.MockTransport(respond)),
        )

    def embed(self, kind: Kind = "document") -> int:
        embedder = OpenAIEmbedder(self.client(), "m", rest=self.rests.append)
        return len(embedder.embed(["a"], kind))


def test_a_busy_endpoint_is_asked_again_when_it_says() -> None:
    busy = Busy((429, {"retry-after": "3"}), (500, {}), (503, {"retry-after-ms": "1500"}))
    assert (busy.embed(), busy.asked) == (1, 4)
    first, second, third = busy.rests
    assert 3 <= first <= 3.5
    assert 0 <= second <= 1
    assert 1.5 <= third <= 2


@pytest.mark.parametrize(
    ("refusal", "seconds", "asked"),
    [
        ((429, {"retry-after": "3600"}), 3600, 1),
        ((429, {}), None, 4),
        ((503, {"retry-after": "2"}), 2, 4),
    ],
)
def test_one_that_takes_no_texts_is_away_for_as_long_as_it_says(
    refusal: tuple[int, dict[str, str]], seconds: float | None, asked: int
) -> None:
    busy = Busy(*[refusal] * 10)
    with pytest.raises(EmbedderAway) as away:
        busy.embed()
    assert (away.value.seconds, busy.asked) == (seconds, asked)


@pytest.mark.parametrize(
    ("refusal", "asked"),
    [
        ((400, {}), 1),
        ((401, {}), 1),
        ((404, {}), 1),
        ((500, {}), 4),
    ],
)
def test_it_gives_up(refusal: tuple[int, dict[str, str]], asked: int) -> None:
    busy = Busy(*[refusal] * 10)
    with pytest.raises(EmbeddingError):
        busy.embed()
    assert busy.asked == asked


def test_a_question_is_not_kept_waiting() -> None:
    busy = Busy(*[(500, {})] * 10)
    with pytest.raises(EmbeddingError):
        busy.embed("query")
    assert busy.asked == 2
    assert sum(busy.rests) < 1
