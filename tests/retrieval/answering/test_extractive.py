"""The extractive answer: the documents' own words, exactly, each with its footnote, or none."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.answering import AnswerEvent, Cited, Finished, TextDelta
from retrieval.answering.extractive import ExtractiveAnswerer, readable
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.evidence import Passage

MakePassage = Callable[..., Passage]

BACKUPS = "Backups run every night at two. They are kept for\nthirty days. Nobody tests the backups."
KEYS = "API keys are stored as a hash. A key is shown once, when it is made. Keys expire after a year."
TRAVEL = "Trains to the coast leave every hour. The journey takes two hours, with one change of trains."


def finish(events: list[AnswerEvent]) -> Finished:
    """The last event, after checking what holds for every answer."""
    *others, last = events
    assert isinstance(last, Finished)
    assert "".join(event.text for event in others if isinstance(event, TextDelta)) == last.text
    assert tuple(event for event in others if isinstance(event, Cited)) == last.citations
    assert [cited.marker for cited in last.citations] == list(range(1, len(last.citations) + 1))
    assert last.declined == (not last.citations)
    for cited in last.citations:
        passage = cited.passage
        assert cited.quote == passage.text[cited.start - passage.start : cited.end - passage.start] != ""
        assert f"[{cited.marker}]" in last.text
    return last


def answer(question: str, passages: Sequence[Passage], threshold: float = 0.3, **options: Any) -> Finished:
    answerer = ExtractiveAnswerer(HashingEmbedder(), threshold, **options)
    return finish(list(answerer.answer(question, passages)))


@pytest.fixture
def passages(passage: MakePassage) -> list[Passage]:
    return [
        passage(BACKUPS, 1, start=1000, title="Operations", score=0.9),
        passage(KEYS, 2, start=20, title="Keys", score=0.7),
        passage(TRAVEL, 3, title="Travel", score=0.6),
    ]


def test_quotes_the_sentence_that_answers(passages: list[Passage]) -> None:
    finished = answer("How often do backups run at night?", passages, max_sentences=1, max_excerpts=1)
    assert finished.text == "Backups run every night at two. [1]"
    (cited,) = finished.citations
    assert (cited.start, cited.end) == (1000, 1031)
    assert finished.model == "extractive"
    assert finished.confidence is not None


def test_neighbouring_sentences_share_a_footnote(passages: list[Passage]) -> None:
    finished = answer("How often do backups run at night?", passages, max_excerpts=1)
    assert finished.text == " ".join(BACKUPS.split()) + " [1]"
    assert finished.citations[0].quote == BACKUPS


def test_passages_come_in_their_order(passages: list[Passage]) -> None:
    finished = answer("Which keys expire, and which backups run?", passages, max_sentences=1, drop=2.0)
    assert [cited.passage.chunk_id for cited in finished.citations] == [1, 2]
    assert finished.text == "Backups run every night at two. [1]\n\nKeys expire after a year. [2]"


@pytest.mark.parametrize(
    "question",
    ["How do I bake rye bread?", "Where does Napoleon lie buried?", "Which Kubernetes operator fits?"],
)
def test_declines_what_the_passages_do_not_say(question: str, passages: list[Passage]) -> None:
    finished = answer(question, passages)
    assert finished.declined
    assert finished.text == ""
    assert finished.closest == tuple(passages)
    assert finished.confidence is not None
    assert finished.confidence < 0.3


def test_is_surer_of_what_is_answered(passages: list[Passage]) -> None:
    asked = ["When are API keys shown?", "How long are backups kept?", "How often do trains leave?"]
    unasked = ["Who wrote Hamlet?", "What is the price of a Tesla?", "Does it rain in Oslo?"]
    answered = [answer(question, passages, 0.0).confidence or 0 for question in asked]
    unanswered = [answer(question, passages, 0.0).confidence or 0 for question in unasked]
    assert min(answered) > max(unanswered)


def test_without_anything_to_quote_it_declines(passage: MakePassage) -> None:
    assert answer("Why?", [], 0.0).declined
    heading = passage("# Backups")
    finished = answer("Backups?", [heading], 0.0)
    assert (finished.declined, finished.confidence, finished.closest) == (True, 0.0, (heading,))


def test_brackets_of_the_source_do_not_read_as_footnotes(passage: MakePassage) -> None:
    source = passage("Backups run every night, as shown elsewhere [3].")
    finished = answer("When do backups run every night?", [source], 0.0)
    assert finished.text == "Backups run every night, as shown elsewhere [\u20603]. [1]"
    assert finished.citations[0].quote.endswith("elsewhere [3].")


def test_reads_only_so_many_passages(passage: MakePassage) -> None:
    filler = [passage(f"Number {n} of the filler says nothing here.", n) for n in range(1, 6)]
    finished = answer("When do backups run?", [*filler, passage(BACKUPS, 9)], 0.0, max_passages=5)
    assert all(cited.passage.chunk_id != 9 for cited in finished.citations)


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ("One line\n  goes on.", "One line goes on."),
        ("One.\n\nTwo\nthree.", "One.\n\nTwo three."),
        ("Do:\n- one\n  thing\n- two", "Do:\n- one thing\n- two"),
        ("Run\n```\na\nb\n```", "Run\n```\na\nb\n```"),
        ("| a | b |\n| c | d |", "| a | b |\n| c | d |"),
        ("So::\n\n    a\n    b", "So::\n\n    a\n    b"),
    ],
)
def test_paragraphs_become_lines(quote: str, expected: str) -> None:
    assert readable(quote) == expected


def test_a_term_stands_above_its_definition() -> None:
    quote = "Kiln\nAn oven that burns clay, at a heat\nthat melts glaze.\nGlaze\nWhat melts in a kiln."
    lines = ["Kiln", "An oven that burns clay, at a heat that melts glaze.", "Glaze", "What melts in a kiln."]
    assert readable(quote.replace("glaze.\nGlaze", "glaze.\n\nGlaze")).split("\n") == [
        *lines[:2],
        "",
        *lines[2:],
    ]


def test_a_quote_that_begins_within_a_line_is_no_term() -> None:
    quote = "Keep\nUbuntu up to date on the day that an update comes."
    assert readable(quote, "The old ones are no longer safe to run. ") == quote.replace("\n", " ")


SOURCES = st.lists(
    st.lists(
        st.sampled_from(
            ["Backups run at night. ", "Keys [1] expire.\n", "## Title\n", "\n\n", "- An item. ", "`x[2]` "]
        ),
        min_size=1,
        max_size=8,
    ).map("".join),
    max_size=5,
)


@given(SOURCES, st.sampled_from(["When do backups run?", "?", "", "Keys"]))
def test_every_answer_quotes_exactly(texts: list[str], question: str) -> None:
    passages = [
        Passage(n, f"d{n}", "T", (), text, 7 * n, None, 1 / n) for n, text in enumerate(texts, start=1)
    ]
    answer(question, passages, 0.0)
