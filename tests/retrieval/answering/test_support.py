"""What makes an answer likely, decided by a pure function."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.answering.support import Features, features, names, rarities, support, weighted_part
from retrieval.evidence import Passage

MakePassage = Callable[..., Passage]
SURE = Features(meaning=0.7, covered=1.0, together=1.0, named=1.0)


@pytest.mark.parametrize(
    ("given_features", "low", "high"),
    [
        (SURE, 0.95, 1.0),
        (Features(0.5, 0.7, 0.5, 1.0), 0.5, 0.8),
        (Features(0.5, 0.5, 0.3, 0.0), 0.0, 0.2),
        (Features(0.2, 0.2, 0.1, 1.0), 0.0, 0.1),
        (Features(-1.0, 0.0, 0.0, 0.0), 0.0, 0.01),
    ],
)
def test_support_of_typical_questions(given_features: Features, low: float, high: float) -> None:
    assert low <= support(given_features) <= high


PART = st.floats(0, 1)


@given(st.builds(Features, st.floats(-1, 1), PART, PART, PART), st.sampled_from(list(vars(SURE))))
def test_more_evidence_never_lowers_the_support(some: Features, name: str) -> None:
    assert 0 <= support(some) <= support(replace(some, **{name: 1.0})) <= 1


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How do I connect Footnote to Slack?", ["footnot", "slack"]),
        ("What does ERR-4017 mean?", ["err-4017"]),
        ("is ef_search or m faster?", ["ef_search"]),
        ("What is it? How does it work?", []),
        ("When did I say so?", []),
        ("Does the “GPL” apply?", ["gpl"]),
        ("", []),
    ],
)
def test_names(question: str, expected: list[str]) -> None:
    assert names(question) == expected


def test_features_of_a_question(passage: MakePassage) -> None:
    passages = [
        passage("Backups run at night.", title="Operations"),
        passage("Slack is a chat."),
        passage("Else."),
    ]
    found = features("Do backups go to Slack by night?", passages, meaning=0.4)
    assert found.meaning == 0.4
    assert found.covered == pytest.approx(3 / 4)
    assert found.named == 1.0
    assert 0.4 < found.together < 0.6


def test_titles_and_headings_count(passage: MakePassage) -> None:
    only = passage("It is 40.", title="Search", heading_path=("ef_search",))
    assert features("the default of ef_search", [only], 0.5).named == 1.0


def test_a_question_of_stop_words_lacks_nothing(passage: MakePassage) -> None:
    found = features("What is it?", [passage("It is.")], 0.5)
    assert (found.covered, found.together, found.named) == (1.0, 0.0, 1.0)


def test_rare_terms_weigh_more() -> None:
    weights = rarities({"rare", "common", "absent"}, [{"rare", "common"}, {"common"}, {"common"}])
    assert 1 < weights["common"] < weights["rare"] < weights["absent"]
    assert weighted_part(weights, {"rare"}) > weighted_part(weights, {"common"})
