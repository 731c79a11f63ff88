"""What the benchmarks rest on: a corpus that is what it says, turns that are fair, verdicts that are right."""

from typing import Any

import numpy as np
import pytest

from retrieval import bm25
from retrieval.analysis import analyse
from retrieval.spelling import allowance
from tests.benchmarks import clauses, corpus
from tests.benchmarks.loads import Whole, figures, side_by_side


def test_made_up_words_are_words_that_analysis_keeps() -> None:
    words = corpus.vocabulary()
    assert len(set(words)) == corpus.TERMS
    assert all(analyse(word) == [word] and allowance(word) for word in words[::50])


def test_chunks_have_about_80_distinct_terms() -> None:
    ranks = corpus.Generator(4).batch(500).ranks()
    assert np.mean([len(set(row)) for row in ranks]) == pytest.approx(80, abs=2)


def test_questions_do_not_depend_on_what_was_made_before() -> None:
    one, other = corpus.Generator(4), corpus.Generator(4)
    other.batch(10)
    assert one.questions(5) == other.questions(5)
    assert np.array_equal(one.question_vectors(5), other.question_vectors(5))


def test_blocks_are_what_inverting_makes() -> None:
    batch, ids = corpus.Generator(4).batch(40), list(range(7, 47))
    found, wanted = batch.blocks(ids), bm25.invert(zip(ids, batch.words(), strict=True))
    assert found[0] == wanted[0]
    assert sorted(found) == sorted(wanted)


def test_engines_take_turns_and_all_is_asked_before_the_clock_runs() -> None:
    asked: list[str] = []
    engines = {name: (lambda question, name=name: asked.append(f"{name}{question}")) for name in "ab"}
    times = side_by_side(engines, [1, 2], before={"a": lambda: asked.append("-")})
    assert asked == ["a1", "b1", "a2", "b2", "-", "a1", "b1", "b2", "-", "a2"]
    assert [len(taken) for taken in times.values()] == [2, 2]


def test_errors_and_answers_of_one_arm_are_noted() -> None:
    def search(question: str) -> Any:
        if question == "fails":
            raise ValueError(question)
        return {"degraded": question}

    whole = Whole(search, lambda found: found["degraded"])
    for question in ("", "without words", "fails"):
        whole(question)
    assert whole.errors == ["without words", "ValueError('fails')"]


@pytest.mark.parametrize(
    ("clause", "kept"),
    [
        (clauses.Clause("", 1.6, most=1.6), True),
        (clauses.Clause("", 1.61, most=1.6), False),
        (clauses.Clause("", 99, least=100), False),
        (clauses.Clause("", 100, least=100), True),
        (clauses.Clause("", 0, most=0), True),
        (clauses.Clause("", 1), None),
    ],
)
def test_a_clause_is_kept_within_its_limit(clause: clauses.Clause, kept: bool | None) -> None:
    assert clause.kept is kept


def test_hybrid_is_held_to_the_slower_arm_and_to_its_growth() -> None:
    def round_of(both: float) -> dict[str, Any]:
        engines = {clauses.BARE: 2.0, clauses.BY_WORDS: 3.0, clauses.BY_MEANING: 9.0, clauses.BOTH: both}
        return {name: figures([milliseconds]) for name, milliseconds in engines.items()}

    result = {
        "sizes": [10, 20, 30],
        "errors": {"readers": ["a"]},
        "milliseconds": {
            clauses.title(size, clauses.WITHOUT_EMBEDDING): round_of(both)
            for size, both in ((10, 2.0), (20, 5.0), (30, 8.0))
        },
    }
    found = clauses.judged(result)
    assert [(clause.value, clause.most, clause.kept) for clause in found] == [
        (2.0, 7.9, True), (5.0, 7.9, True), (8.0, 7.9, False), (4.0, 3.0, False), (1, 0, False),
    ]  # fmt: skip


def test_words_are_held_to_what_was_measured_in_the_same_round() -> None:
    def round_of(**engines: float) -> dict[str, Any]:
        return {name: figures([milliseconds]) for name, milliseconds in engines.items()}

    memory = {clauses.FORMULA: 2.0, clauses.ARITHMETIC: 1.0}
    result = {
        "sizes": [10, 20],
        "errors": {},
        "milliseconds": {
            clauses.title(20, clauses.NOTHING_CACHED): round_of(**memory, **{clauses.FOOTNOTE: 3.0}),
            clauses.title(20, clauses.BLOCKS_CACHED): round_of(**memory, **{clauses.FOOTNOTE: 3.0}),
            clauses.title(10, clauses.OTHER_ENGINES): round_of(Footnote=1.0, rank_bm25=99.0),
            clauses.title(20, clauses.OTHER_ENGINES): round_of(Footnote=2.0, ts_rank=30.0),
        },
    }
    kept = {clause.name: (clause.value, clause.kept) for clause in clauses.judged(result)}
    assert list(kept.values()) == [
        (1.5, True),
        (3.0, None),
        (1.5, False),
        (3.0, None),
        (99.0, False),
        (15.0, True),
    ]
