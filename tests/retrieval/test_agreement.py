"""How far rankings agree, against the definitions written out."""

import random

import pytest

from retrieval.agreement import agreement, overlap, rank_biased_overlap


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("abc", "abc", 1.0),
        ("abc", "cba", 1.0),
        ("abc", "xyz", 0.0),
        ("abcd", "ab", 0.5),
        ("", "", 1.0),
        ("a", "", 0.0),
    ],
)
def test_overlap_counts_what_both_have(one: str, other: str, expected: float) -> None:
    assert overlap(one, other) == expected
    assert overlap(other, one) == expected


def by_definition(one: str, other: str, p: float) -> float:
    """RBO of lists of one length that go on for ever with the agreement at their ends, summed up."""
    length, total = len(one), 0.0
    for depth in range(1, 2000):
        known = min(depth, length)
        share = len(set(one[:known]) & set(other[:known])) / known
        total += (1 - p) * p ** (depth - 1) * share
    return total


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_rank_biased_overlap_is_the_sum_of_its_definition(p: float) -> None:
    chance = random.Random(7)
    for _ in range(50):
        one = "".join(chance.sample("abcdefghijklmnop", 10))
        other = "".join(chance.sample("abcdefghijklmnop", 10))
        assert rank_biased_overlap(one, other, p) == pytest.approx(by_definition(one, other, p), abs=1e-9)


def test_rank_biased_overlap_of_uneven_lists() -> None:
    # Equation 32 by hand: X = 1, 2, 2 at the depths 1, 2, 3; s = 2, l = 3, p = 0.5.
    total = 1 * 0.5 + 1 * 0.25 + (2 + 2 * 1 / 2) / 3 * 0.125
    assert rank_biased_overlap("ab", "abc", 0.5) == pytest.approx(0.5 / 0.5 * total + (0 / 3 + 1) * 0.125)
    assert rank_biased_overlap("abc", "ab", 0.5) == rank_biased_overlap("ab", "abc", 0.5)
    assert rank_biased_overlap("", "") == 1
    assert rank_biased_overlap("a", "") == 0


def test_the_top_counts_more() -> None:
    same = "abcdefghij"
    assert rank_biased_overlap(same, same) == pytest.approx(1)
    assert rank_biased_overlap(same, "bacdefghij") < rank_biased_overlap(same, "abcdefghji") < 1


def test_the_shift_is_over_what_both_have() -> None:
    found = agreement({"a": 0.9, "b": 0.5}, {"b": 0.6, "c": 0.4})
    assert found.score_shift == pytest.approx(0.1)
    assert found.overlap == 0.5
    assert agreement({"a": 1.0}, {"b": 1.0}).score_shift is None


def test_only_the_first_ten_are_looked_at() -> None:
    one = dict.fromkeys(range(20), 1.0)
    other = dict.fromkeys([*range(10), *range(100, 110)], 1.0)
    assert agreement(one, other).overlap == 1
