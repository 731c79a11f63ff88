"""What a version must be to go on, as tables."""

from dataclasses import replace

import numpy as np
import pytest

from retrieval.tuning import Interval, interval
from retrieval.validation import Check, Compared, Limits, Measured, Rows, Vectors, checks

NOTHING_LOST = Interval(0.0, -0.01, 0.01)
SAME = Compared(50, (0.7, 0.7), (0.9, 0.9), NOTHING_LOST, NOTHING_LOST)
WORSE = Interval(-0.02, -0.06, 0.02)
FAST, SLOW = [20.0 + number % 7 for number in range(100)], [100.0 + number % 7 for number in range(100)]
GOOD = Measured(
    rows=(Rows(1, 1000, 1000, 0, 0), Rows(2, 500, 495, 5, 0)),
    vectors=Vectors(1495, shortest=0.999, longest=1.001),
    recall=0.99,
    compared=SAME,
    overlap=0.4,
    candidate_ms=FAST,
    live_ms=FAST,
)


def failed(measured: Measured, limits: Limits | None = None) -> list[str]:
    return [check.name for check in checks(measured, limits) if not check.passed]


def the(name: str, measured: Measured) -> Check:
    return next(check for check in checks(measured) if check.name == name)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"rows": (Rows(1, 1000, 999, 0, 1),)}, ["rows"]),
        ({"rows": (Rows(1, 1000, 1000, 0, 0, strays=1),)}, ["rows"]),
        ({"rows": (Rows(1, 1000, 990, 10, 0),)}, []),
        ({"rows": (Rows(1, 1000, 989, 11, 0),)}, ["rows"]),
        ({"vectors": Vectors(10, zeros=1)}, ["vectors"]),
        ({"vectors": Vectors(10, not_numbers=1)}, ["vectors"]),
        ({"vectors": Vectors(10, shortest=0.9)}, ["vectors"]),
        ({"vectors": Vectors(10, longest=1.1)}, ["vectors"]),
        ({"recall": 0.97}, []),
        ({"recall": 0.969}, ["recall"]),
        ({"recall": None}, ["recall"]),
        ({"compared": replace(SAME, ndcg_difference=WORSE)}, ["quality"]),
        ({"compared": replace(SAME, recall_difference=WORSE)}, ["quality"]),
        ({"compared": replace(SAME, ndcg_difference=Interval(-0.01, -0.029, 0.01))}, []),
        # Too few judged questions: only what finds the same goes on.
        ({"compared": replace(SAME, questions=19)}, ["quality"]),
        ({"compared": replace(SAME, questions=19), "overlap": 0.9}, []),
        ({"compared": None, "overlap": 0.95}, []),
        ({"compared": None, "overlap": 0.89}, ["quality"]),
        ({"compared": None, "overlap": None}, ["quality"]),
        ({"compared": None, "overlap": None, "alone": True, "live_ms": ()}, []),
        # But enough of them decide, however alike the results are.
        ({"compared": replace(SAME, ndcg_difference=WORSE), "overlap": 1.0}, ["quality"]),
        ({"lost_arms": (1, 0)}, ["arms"]),
        ({"lost_arms": (0, 7)}, []),
        ({"candidate_ms": SLOW}, ["speed"]),
        ({"candidate_ms": FAST, "live_ms": [1.0] * 100}, []),  # slower, but nobody notices
        ({"candidate_ms": [*FAST[:19], *SLOW[:1]]}, []),  # one of twenty says little of the 95th percentile
        ({"candidate_ms": (), "live_ms": ()}, []),
        ({"recall": 0.5, "vectors": Vectors(10, zeros=1)}, ["vectors", "recall"]),
    ],
)
def test_what_fails(changes: dict[str, object], expected: list[str]) -> None:
    assert failed(replace(GOOD, **changes)) == expected  # type: ignore[arg-type]


def test_an_empty_index_has_nothing_to_fail_by() -> None:
    assert failed(Measured(rows=(), vectors=Vectors(0))) == []


def test_each_check_says_what_it_found() -> None:
    assert [check.name for check in checks(GOOD)] == ["rows", "vectors", "recall", "arms", "quality", "speed"]
    assert all(check.reason for check in checks(GOOD))
    assert "1 of 1,000 chunks" in the("rows", replace(GOOD, rows=(Rows(1, 1000, 999, 0, 1),))).reason
    assert "96.0%" in the("recall", replace(GOOD, recall=0.96)).reason
    unjudged = the("quality", replace(GOOD, compared=None, overlap=0.4)).reason
    assert "40%" in unjudged
    assert "question set" in unjudged


def test_limits_are_followed() -> None:
    assert failed(GOOD, Limits(recall=0.995)) == ["recall"]
    assert failed(GOOD, Limits(margin=0.005)) == ["quality"]


def test_a_version_that_is_worse_by_the_margin_seldom_passes_and_an_equal_one_often() -> None:
    rng = np.random.default_rng(5)

    def passes(shift: float) -> float:
        drawn = [interval(rng.normal(shift, 0.1, 100)) for _ in range(60)]
        return float(np.mean([each.low > -0.03 for each in drawn]))

    assert passes(-0.03) <= 0.1
    assert passes(0.0) >= 0.7
