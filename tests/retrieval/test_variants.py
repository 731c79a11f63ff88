"""Terms of one word in several languages: one word for BM25."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval import bm25
from retrieval.analysis import Variants
from retrieval.protocols import Postings, TermPostings
from retrieval.variants import merged, terms_of

LENGTHS = {1: 10, 2: 20, 3: 30, 4: 5}


def entry(term: str, frequencies: dict[int, int]) -> TermPostings:
    return TermPostings(
        term,
        np.array(list(frequencies), np.int32),
        np.array(list(frequencies.values()), np.uint16),
        np.array([LENGTHS[chunk] for chunk in frequencies], np.int32),
    )


def stored(deleted: tuple[int, ...] = (), **terms: dict[int, int]) -> Postings:
    alive = {chunk: length for chunk, length in LENGTHS.items() if chunk not in deleted}
    return Postings(
        len(alive),
        sum(alive.values()),
        tuple(entry(term, found) for term, found in terms.items()),
        np.array(sorted(deleted), np.int32),
    )


def ranking(postings: Postings, words: list[Variants]) -> list[tuple[int, float]]:
    found = bm25.rank(*merged(postings, words), 10)
    return list(zip(found.ids.tolist(), found.scores.tolist(), strict=True))


def test_words_of_one_term_are_left_alone() -> None:
    postings = stored(run={1: 2}, dog={2: 1})
    words: list[Variants] = [("run",), ("dog",), ("run",)]
    same, names = merged(postings, words)
    assert same is postings
    assert names == ["run", "dog", "run"]
    assert terms_of(words) == ["run", "dog"]


def test_variants_are_one_term_in_the_sum_of_their_chunks() -> None:
    both = stored(run={1: 2, 2: 1}, running={2: 3, 3: 1}, dog={4: 1})
    one = stored(run={1: 2, 2: 4, 3: 1}, dog={4: 1})
    assert ranking(both, [("run", "running"), ("dog",)]) == ranking(one, [("run",), ("dog",)])


def test_deleted_chunks_do_not_count() -> None:
    both = stored((2,), run={1: 2, 2: 1}, running={2: 3, 3: 1})
    one = stored((2,), run={1: 2, 3: 1})
    assert ranking(both, [("run", "running")]) == ranking(one, [("run",)])


def test_variants_that_nothing_holds() -> None:
    assert ranking(stored(run={1: 1}), [("a", "b"), ("run", "runs")]) == ranking(
        stored(run={1: 1}), [("run",)]
    )
    assert ranking(stored(), [("a", "b")]) == []


def test_frequencies_stay_within_their_type() -> None:
    postings, _ = merged(stored(a={1: 65_000}, b={1: 65_000}), [("a", "b")])
    assert postings.terms[0].frequencies.tolist() == [65_535]


FOUND = st.dictionaries(st.sampled_from(list(LENGTHS)), st.integers(1, 9))


@given(st.tuples(FOUND, FOUND, FOUND))
def test_any_postings(found: tuple[dict[int, int], ...]) -> None:
    summed = {
        chunk: sum(one.get(chunk, 0) for one in found)
        for chunk in LENGTHS
        if any(chunk in one for one in found)
    }
    several = stored(a=found[0], b=found[1], c=found[2])
    assert ranking(several, [("a", "b", "c")]) == ranking(stored(a=summed), [("a",)])
