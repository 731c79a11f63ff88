"""Distances between words, and the nearest of many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.spelling import allowance, distances, edits, nearest, openings

WORDS = st.text("abcd", max_size=7)


def plain_distance(a: str, b: str) -> int:
    """Optimal string alignment, written down as it is defined."""
    table = {(-1, j): j + 1 for j in range(-1, len(b))} | {(i, -1): i + 1 for i in range(-1, len(a))}
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (left != right))
            if i and j and left == b[j - 1] and a[i - 1] == right:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(a) - 1, len(b) - 1]


@given(WORDS, st.lists(WORDS, max_size=8))
def test_distances_are_those_of_the_definition(word: str, terms: list[str]) -> None:
    assert distances(word, terms).tolist() == [plain_distance(word, term) for term in terms]


@given(st.text("abcd", min_size=1, max_size=6), st.text("abcd", max_size=7))
def test_edits_are_all_that_is_one_away(word: str, other: str) -> None:
    assert (other in edits(word)) == (plain_distance(word, other) <= 1)


@pytest.mark.parametrize(
    ("word", "most"),
    [("cat", 0), ("cats", 1), ("kitten", 1), ("kubernet", 2), ("4012abcd", 0), ("err-4012", 0), ("", 0)],
)
def test_longer_words_may_be_further_off(word: str, most: int) -> None:
    assert allowance(word) == most


@pytest.mark.parametrize(
    ("word", "terms", "found"),
    [
        ("retreiv", ["retriev", "receiv", "retir"], ["retriev"]),
        ("embeding", ["embedding", "embed"], ["embedding"]),
        ("vectr", ["vector", "vectra", "victor"], ["vector", "vectra"]),
        ("phtosyntesi", ["photosynthesi", "synthesi"], ["photosynthesi"]),
        ("cat", ["cut"], []),
        ("apple", ["orange"], []),
        ("apple", [], []),
        ("новсть", ["новость"], ["новость"]),
    ],
)
def test_the_nearest(word: str, terms: list[str], found: list[str]) -> None:
    assert nearest(word, terms) == found


def test_letters_of_the_words_own_script_are_put_in() -> None:
    assert "новость" in edits("новсть")
    assert "λογος" in edits("λοος")
    assert "שלום" in edits("שלוםם")


@given(st.text("abcdefgh", min_size=8, max_size=10), st.data())
def test_openings_reach_what_two_edits_made(word: str, data: st.DataObject) -> None:
    """One of them within the first letters, the other behind the letter that may move up to them."""
    opening = data.draw(st.sampled_from(sorted(edits(word[:4]))))
    meant = opening + word[4] + data.draw(st.sampled_from(sorted(edits(word[5:]))))
    assert any(meant.startswith(opening) for opening in openings(word) if len(meant) >= len(opening))
