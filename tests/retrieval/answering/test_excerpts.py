"""Which runs of sentences are candidates, how they are scored, and which are chosen."""

from collections.abc import Callable

import numpy as np
import pytest

from retrieval.answering.excerpts import Excerpt, chosen, excerpts, sentences, without_list_mark
from retrieval.evidence import Passage

MakePassage = Callable[..., Passage]

TEXT = """\
# Backups and their place

Backups run every single night at two. They are kept for thirty whole days. Why so long at all?
Because auditors want to see them. Yes. Nobody has tested them in years.

Restoring an old backup

Stop the web server before you restore.
- Then copy the newest dump file.
"""


def words(passage: Passage) -> list[tuple[int, str]]:
    return [(one.run, passage.text[one.start : one.end]) for one in sentences([passage])]


def test_headings_questions_and_fragments_are_no_candidates(passage: MakePassage) -> None:
    found = words(passage(TEXT))
    assert [text for _, text in found] == [
        "Backups run every single night at two.",
        "They are kept for thirty whole days.",
        "Because auditors want to see them.",
        "Nobody has tested them in years.",
        "Stop the web server before you restore.",
        "- Then copy the newest dump file.",
    ]
    kept, told, why, untested, stop, copy = (run for run, _ in found)
    assert kept == told != why == untested != stop == copy


def test_a_sentence_knows_its_heading(passage: MakePassage) -> None:
    headings = [one.heading for one in sentences([passage(TEXT, heading_path=("Operations",))])]
    assert headings == [
        *["Backups and their place"] * 2,
        *["Why so long at all?"] * 2,
        *["Restoring an old backup"] * 2,
    ]
    (one,) = sentences([passage("Backups run every single night.", heading_path=("Part", "Operations"))])
    assert one.heading == "Operations"


def test_runs_are_as_long_as_asked_or_as_there_is(passage: MakePassage) -> None:
    text = " ".join(f"Sentence {n} speaks of number {n}." for n in ("one", "two", "three", "four"))
    passages = [passage(text), passage("Short passages stand alone too.")]
    candidates = sentences(passages)
    found = excerpts("What?", passages, candidates, np.zeros(5, np.float32), 3)
    quoted = {passages[one.rank].text[one.start : one.end].count(".") for one in found}
    assert len(found) == 3
    assert quoted == {3, 1}


def test_the_nearest_and_the_one_with_the_words_come_first(passage: MakePassage) -> None:
    passages = [passage("Alpha birds sing loudly today. Beta birds sleep quietly tonight.")]
    candidates = sentences(passages)
    by_cosine = excerpts("Gamma?", passages, candidates, np.array([0.1, 0.9], np.float32), 1)
    assert by_cosine[0].start == candidates[1].start
    by_words = excerpts("alpha loudly?", passages, candidates, np.array([0.5, 0.5], np.float32), 1)
    assert by_words[0].start == candidates[0].start


@pytest.mark.parametrize("scores", [(0.9, 0.8), (0.03, 0.016), (5.0, -3.0), (-1.0, -2.0)])
def test_any_scale_of_passage_scores_will_do(scores: tuple[float, float], passage: MakePassage) -> None:
    text = "Alpha birds sing loudly today."
    passages = [passage(text, score=score) for score in scores]
    found = excerpts("birds?", passages, sentences(passages), np.array([0.5, 0.5], np.float32), 3)
    assert [one.rank for one in found] == [0, 1]
    assert all(-1 <= one.score <= 3 for one in found)


def excerpt(rank: int, start: int, end: int, terms: str, score: float) -> Excerpt:
    return Excerpt(rank, start, end, frozenset(terms.split()), score)


def test_chosen_excerpts_differ_and_stand_in_reading_order() -> None:
    best = excerpt(2, 50, 90, "a b c d", 1.0)
    overlapping = excerpt(2, 80, 120, "e f g h", 0.9)
    repeated = excerpt(0, 0, 40, "a b c d", 0.9)
    other = excerpt(1, 0, 40, "a x y z", 0.8)
    assert chosen([best, overlapping, repeated, other], 3, drop=0.5) == [other, best]


def test_what_is_much_worse_than_the_best_is_left_out() -> None:
    best, worse = excerpt(0, 0, 9, "a b", 1.0), excerpt(1, 0, 9, "c d", 0.4)
    assert chosen([best, worse], 2, drop=0.5) == [best]
    assert chosen([best, worse], 2, drop=0.7) == [best, worse]
    assert chosen([], 2, drop=0.5) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- one item", "one item"),
        ("2. one item", "one item"),
        ("- one\n- two", "- one\n- two"),
        ("none", "none"),
    ],
)
def test_a_lone_list_item_loses_its_mark(text: str, expected: str) -> None:
    start, end = without_list_mark(text, 0, len(text))
    assert text[start:end] == expected
