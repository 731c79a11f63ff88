"""The real client against a real server on the loopback: streaming, refusals, and breaking off."""

from collections.abc import Callable
from typing import Any

import openai
import pytest

from retrieval.answering import AnswerFailed, Finished, TextDelta
from retrieval.answering.generative import GenerativeAnswerer
from retrieval.evidence import Passage


@pytest.fixture
def source(passage: Callable[..., Passage]) -> Passage:
    return passage("Backups run every night at two. They are kept for thirty days.")


def answerer(url: str, **options: Any) -> GenerativeAnswerer:
    client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
    return GenerativeAnswerer(client, "small-model", **options)


@pytest.mark.timeout(30)
def test_streams_an_answer_with_its_usage(model_server: Any, source: Passage) -> None:
    model_server.pieces = ["Backups run ", "every night [", "1", "]."]
    *_, finished = answerer(model_server.url).answer("When do backups run?", [source])
    assert isinstance(finished, Finished)
    assert finished.text == "Backups run every night [1]."
    assert finished.citations[0].quote == "Backups run every night at two."
    assert (finished.prompt_tokens, finished.completion_tokens) == (7, 3)
    (request,) = model_server.requests
    assert request["model"] == "small-model"
    assert request["stream"] is True
    assert "temperature" not in request
    assert "Backups run every night at two." in request["messages"][1]["content"]
    assert model_server.authorization == ["Bearer secret"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "unauthorised"),
        (403, "unauthorised"),
        (404, "not_found"),
        (429, "rate_limited"),
        (503, "failed"),
    ],
)
def test_a_refusal_is_explained(model_server: Any, source: Passage, status: int, code: str) -> None:
    model_server.status = status
    with pytest.raises(AnswerFailed) as failed:
        list(answerer(model_server.url).answer("When?", [source]))
    assert failed.value.code == code


@pytest.mark.timeout(30)
def test_a_server_that_is_not_there_is_explained(model_server: Any, source: Passage) -> None:
    model_server.close()
    with pytest.raises(AnswerFailed, match="LLM_BASE_URL") as failed:
        list(answerer(model_server.url).answer("When?", [source]))
    assert failed.value.code == "unreachable"


@pytest.mark.timeout(30)
def test_silence_in_mid_answer_times_out(model_server: Any, source: Passage) -> None:
    model_server.pieces = ["Backups ", "never"]
    model_server.stall_after = 1
    events = answerer(model_server.url, read_timeout=0.3).answer("When?", [source])
    assert next(events) == TextDelta("Backups")
    with pytest.raises(AnswerFailed) as failed:
        list(events)
    assert failed.value.code == "timeout"


@pytest.mark.timeout(30)
def test_closing_the_answer_breaks_off_the_request(model_server: Any, source: Passage) -> None:
    model_server.pieces = ["Backups run. "]
    model_server.endless = True
    events = answerer(model_server.url).answer("When?", [source])
    next(events)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert model_server.broken_off.wait(10)
