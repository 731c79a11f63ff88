"""A scripted model's words become an answer with footnotes that stand in the sources."""

from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.answering import AnswerEvent, AnswerFailed, Cited, Finished, TextDelta
from retrieval.answering.generative import GenerativeAnswerer
from retrieval.answering.prompting import DECLINE
from retrieval.answering.scripted import ScriptedClient
from retrieval.evidence import Passage

BACKUPS = "Backups run every night at two. They are kept for thirty days. Nobody tests them."
KEYS = "API keys are stored as a hash. A key is shown once. Keys expire after a year."


@pytest.fixture
def sources(passage: Callable[..., Passage]) -> list[Passage]:
    return [passage(BACKUPS, 1, start=100), passage(KEYS, 2, start=2000)]


def finish(events: list[AnswerEvent]) -> Finished:
    """The last event, after checking what holds for every answer."""
    *others, last = events
    assert isinstance(last, Finished)
    assert "".join(event.text for event in others if isinstance(event, TextDelta)) == last.text
    assert tuple(event for event in others if isinstance(event, Cited)) == last.citations
    assert [cited.marker for cited in last.citations] == list(range(1, len(last.citations) + 1))
    for cited in last.citations:
        passage = cited.passage
        assert cited.quote == passage.text[cited.start - passage.start : cited.end - passage.start]
        assert f"[{cited.marker}]" in last.text
    return last


def answer(pieces: list[str], sources: list[Passage], **script: Any) -> Finished:
    answerer = GenerativeAnswerer(ScriptedClient(pieces, **script), "m")
    return finish(list(answerer.answer("When?", sources)))


def test_each_claim_has_a_footnote_of_its_own_span(sources: list[Passage]) -> None:
    told = "Backups run every night at two [1]. They are kept thirty days [1]. Keys are stored as a hash.[2]"
    finished = answer([told], sources)
    assert finished.text == told.replace("days [1]", "days [2]").replace("hash.[2]", "hash.[3]")
    assert [cited.quote for cited in finished.citations] == [
        "Backups run every night at two.",
        "They are kept for thirty days.",
        "API keys are stored as a hash.",
    ]
    assert finished.citations[2].start == 2000
    assert (finished.prompt_tokens, finished.completion_tokens) == (2, 1)


def test_the_same_span_keeps_its_footnote(sources: list[Passage]) -> None:
    finished = answer(["A key is shown once [2]. Indeed, a key is shown once [2][2]."], sources)
    assert finished.text == "A key is shown once [1]. Indeed, a key is shown once [1]."
    assert len(finished.citations) == 1


def test_a_claim_may_be_a_clause(sources: list[Passage]) -> None:
    finished = answer(["Backups run every night [1], and API keys expire after a year [2]."], sources)
    assert [cited.quote for cited in finished.citations] == [
        "Backups run every night at two.",
        "Keys expire after a year.",
    ]


def test_a_claim_in_other_words_cites_the_whole_passage(sources: list[Passage]) -> None:
    finished = answer(["Sicherungen laufen nachts [1]."], sources)
    assert finished.citations[0].quote == BACKUPS


def test_markers_of_no_source_are_removed_and_counted(sources: list[Passage]) -> None:
    finished = answer(["It is so [7], and so [2, 9]."], sources)
    assert finished.text == "It is so, and so [1]."
    assert finished.removed_markers == 2


def test_a_footnote_comes_before_the_text_with_its_marker(sources: list[Passage]) -> None:
    answerer = GenerativeAnswerer(ScriptedClient(["Backups run [1", "]."]), "m")
    kinds = [type(event) for event in answerer.answer("When?", sources)]
    assert kinds == [TextDelta, TextDelta, Cited, TextDelta, TextDelta, Finished]


@pytest.mark.parametrize(
    "pieces", [[DECLINE], ["\n**NO_ANS", "WER_IN", "_SOURCES**", " Sorry."], [f"`{DECLINE}`"]]
)
def test_declines_with_what_is_closest(pieces: list[str], sources: list[Passage]) -> None:
    finished = answer(pieces, sources)
    assert (finished.declined, finished.text, finished.citations) == (True, "", ())
    assert finished.closest == tuple(sources)


def test_words_that_begin_like_a_decline_are_an_answer(sources: list[Passage]) -> None:
    assert answer(["NO", "_", "pe [1]"], sources).text == "NO_pe [1]"
    assert answer(["NO"], sources).text == "NO"


def test_without_passages_nobody_is_asked() -> None:
    client = ScriptedClient(["x"])
    finished = finish(list(GenerativeAnswerer(client, "m").answer("When?", [])))
    assert finished.declined
    assert client.requests == []


def test_says_that_the_length_limit_cut_it(sources: list[Passage]) -> None:
    assert answer(["Cut"], sources, finish_reason="length").truncated


def test_sends_only_the_options_that_were_given(sources: list[Passage]) -> None:
    client = ScriptedClient(["x"])
    list(GenerativeAnswerer(client, "m", temperature=0.2).answer("When?", sources))
    (request,) = client.requests
    assert request["temperature"] == 0.2
    assert request["max_tokens"] is openai.omit
    assert request["stream_options"] == {"include_usage": True}


def test_closing_the_answer_closes_the_stream(sources: list[Passage]) -> None:
    client = ScriptedClient(["one ", "two ", "three "])
    events = GenerativeAnswerer(client, "m").answer("When?", sources)
    next(events)
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert client.streams[0].closed
    assert client.streams[0].taken == 1


REQUEST = httpx2.Request("POST", "http://model.test/v1")


def status_error(kind: type[openai.APIStatusError], status: int) -> openai.APIStatusError:
    return kind("refused", response=httpx2.Response(status, request=REQUEST), body=None)


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (openai.APITimeoutError(request=REQUEST), "timeout", "LLM_BASE_URL"),
        (openai.APIConnectionError(request=REQUEST), "unreachable", "LLM_BASE_URL"),
        (status_error(openai.AuthenticationError, 401), "unauthorised", "LLM_API_KEY"),
        (status_error(openai.PermissionDeniedError, 403), "unauthorised", "LLM_API_KEY"),
        (status_error(openai.NotFoundError, 404), "not_found", "LLM_MODEL"),
        (status_error(openai.RateLimitError, 429), "rate_limited", "later"),
        (status_error(openai.BadRequestError, 400), "rejected", "refused"),
        (status_error(openai.InternalServerError, 500), "failed", "later"),
        (status_error(openai.UnprocessableEntityError, 422), "failed", "refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("where", ["refusal", "error"])
def test_a_failure_says_what_to_do(
    error: Exception, code: str, word: str, where: str, sources: list[Passage]
) -> None:
    with pytest.raises(AnswerFailed) as failed:
        answer(["A beginning "], sources, **{where: error})
    assert failed.value.code == code
    assert word in failed.value.message
    assert failed.value.__cause__ is error


def test_an_answer_that_takes_too_long_fails(sources: list[Passage]) -> None:
    client = ScriptedClient(["a ", "b ", "c "])
    ticks = iter([0.0, 1.0, 11.0])
    answerer = GenerativeAnswerer(client, "m", total_timeout=10, clock=lambda: next(ticks))
    with pytest.raises(AnswerFailed, match="longer than 10 seconds"):
        list(answerer.answer("When?", sources))
    assert client.streams[0].closed


@pytest.mark.parametrize("pieces", [[], ["  \n"], [" [9]"]])
def test_an_empty_answer_is_a_failure(pieces: list[str], sources: list[Passage]) -> None:
    with pytest.raises(AnswerFailed, match="empty"):
        answer(pieces, sources)


def test_a_withheld_answer_is_a_failure(sources: list[Passage]) -> None:
    with pytest.raises(AnswerFailed, match="content filter"):
        answer(["Some"], sources, finish_reason="content_filter")


def test_a_question_that_fills_the_budget_is_a_failure(sources: list[Passage]) -> None:
    answerer = GenerativeAnswerer(ScriptedClient(["x"]), "m", prompt_tokens=1000)
    with pytest.raises(AnswerFailed, match="no room"):
        list(answerer.answer("why " * 2000, sources))


WORDS = st.lists(
    st.sampled_from(
        ["Backups ", "run. ", "[1]", " [2, 3]", "[9]", "`x[1]`", "\n", "Keys ", "expire ", "NO_", "["]
    ),
    min_size=1,
    max_size=25,
).map(lambda words: "Now " + "".join(words))


@given(WORDS, st.data())
def test_the_cut_of_the_stream_does_not_matter(text: str, data: st.DataObject) -> None:
    sources = [
        Passage(number, f"d{number}", "T", (), words, 10 * number, None, 0.5)
        for number, words in enumerate([BACKUPS, KEYS, BACKUPS + KEYS], start=1)
    ]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, parted = answer([text], sources), answer(pieces, sources)
    assert (parted.text, parted.citations) == (whole.text, whole.citations)
    assert parted.removed_markers == whole.removed_markers
