"""BM25 over packed postings agrees with rank_bm25 and is exact after deletes."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from retrieval import bm25
from retrieval.protocols import Postings, TermPostings

LETTERS = "abcdef"
CHUNKS = st.lists(st.lists(st.sampled_from(LETTERS), max_size=12), min_size=1, max_size=25)
QUERIES = st.lists(st.sampled_from(LETTERS + "z"), max_size=6)


class Oracle(BM25Okapi):  # type: ignore[misc]  # rank_bm25 carries no types
    """rank_bm25 with the idf of ours, which is never negative."""

    def _calc_idf(self, nd: dict[str, int]) -> None:
        for term, df in nd.items():
            self.idf[term] = math.log(1 + (self.corpus_size - df + 0.5) / (df + 0.5))


def postings_of(chunks: dict[int, list[str]], deleted: Sequence[int] = ()) -> Postings:
    """`deleted` stay in the postings, as in a segment that nobody has merged yet."""
    living = {chunk: terms for chunk, terms in chunks.items() if chunk not in set(deleted)}
    terms = []
    for term in sorted({term for terms in chunks.values() for term in terms}, reverse=True):
        rows = [(i, Counter(words)[term], len(words)) for i, words in chunks.items() if term in words]
        half = len(rows) // 2  # two blocks, out of order
        blocks = [bm25.pack(*zip(*part, strict=True)) for part in (rows[half:], rows[:half]) if part]
        terms.append(bm25.unpack(term, blocks))
    return Postings(
        len(living), sum(map(len, living.values())), tuple(terms), np.array(sorted(deleted), np.int32)
    )


@given(chunks=CHUNKS, query=QUERIES, step=st.sampled_from([1, 7, 40_000_000]), chosen=st.data())
def test_agrees_with_rank_bm25(
    chunks: list[list[str]], query: list[str], step: int, chosen: st.DataObject
) -> None:
    numbered = {5 + i * step: terms for i, terms in enumerate(chunks)}
    deleted = chosen.draw(st.sets(st.sampled_from(sorted(numbered)), max_size=len(chunks) - 1))
    living = {chunk: terms for chunk, terms in numbered.items() if chunk not in deleted}
    found = bm25.rank(postings_of(numbered, sorted(deleted)), query, 1000)
    expected = dict.fromkeys(living, 0.0)
    if any(living.values()):
        scores = Oracle(list(living.values()), k1=bm25.K1, b=bm25.B).get_scores(query)
        expected = dict(zip(living, scores.tolist(), strict=True))
    positive = {chunk: score for chunk, score in expected.items() if score > 0}
    assert found.ids.tolist() == sorted(positive, key=lambda c: (-round(positive[c], 9), c))
    np.testing.assert_allclose(found.scores, [positive[c] for c in found.ids.tolist()], rtol=1e-5)


@given(chunks=CHUNKS, query=QUERIES, k=st.integers(0, 30))
def test_k_is_a_prefix_of_the_whole_ranking(chunks: list[list[str]], query: list[str], k: int) -> None:
    postings = postings_of(dict(enumerate(chunks)))
    whole, cut = bm25.rank(postings, query, 1000), bm25.rank(postings, query, k)
    assert cut.ids.tolist() == whole.ids[:k].tolist()
    assert cut.scores.tolist() == whole.scores[:k].tolist()


@given(chunks=CHUNKS, query=QUERIES, order=st.randoms(use_true_random=False))
def test_the_order_of_terms_changes_nothing(chunks: list[list[str]], query: list[str], order: Random) -> None:
    postings = postings_of(dict(enumerate(chunks)))
    terms, shuffled = list(postings.terms), list(query)
    order.shuffle(terms)
    order.shuffle(shuffled)
    other = Postings(postings.count, postings.total_length, tuple(terms), postings.deleted)
    first, second = bm25.rank(postings, query, 10), bm25.rank(other, shuffled, 10)
    assert first.ids.tolist() == second.ids.tolist()
    assert first.scores.tolist() == second.scores.tolist()


@given(k=st.integers(1, 12), seed=st.integers(0, 9), step=st.sampled_from([1, 90_000_000]))
def test_the_best_of_many_are_those_of_the_whole_ranking(k: int, seed: int, step: int) -> None:
    """So many chunks that the cut is found without sorting them, with many ties at it."""
    chance = np.random.default_rng(seed)
    postings = postings_of({5 + i * step: ["a"] * int(chance.integers(0, 4)) + ["b"] for i in range(23)})
    whole, cut = bm25.rank(postings, ["a"], 1000), bm25.rank(postings, ["a"], k)
    assert cut.ids.tolist() == whole.ids[:k].tolist()


@given(chunks=CHUNKS, query=QUERIES, step=st.sampled_from([1, 40_000_000]), chosen=st.data())
def test_among_some_chunks_scores_are_those_among_all(
    chunks: list[list[str]], query: list[str], step: int, chosen: st.DataObject
) -> None:
    numbered = {5 + i * step: terms for i, terms in enumerate(chunks)}
    some = chosen.draw(st.sets(st.sampled_from([1, 2_000_000_000, *numbered])))
    whole = bm25.rank(postings_of(numbered), query, 1000)
    found = bm25.rank(postings_of(numbered), query, 1000, np.array(sorted(some), np.int64))
    kept = np.isin(whole.ids, sorted(some))
    assert found.ids.tolist() == whole.ids[kept].tolist()
    assert found.scores.tolist() == whole.scores[kept].tolist()


def test_a_repeated_query_term_counts_again() -> None:
    postings = postings_of({1: ["a", "b"], 2: ["c"]})
    once, twice = bm25.rank(postings, ["a"], 5), bm25.rank(postings, ["a", "a"], 5)
    assert twice.scores[0] == pytest.approx(2 * once.scores[0])


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_among_equals_the_lower_ids_make_the_cut(k: int) -> None:
    postings = postings_of({9: ["a"], 2: ["a"], 7: ["a"], 4: ["a"], 1: ["b"], 8: ["a", "a"]})
    assert bm25.rank(postings, ["a"], k).ids.tolist() == [8, 2, 4, 7, 9][:k]


def test_a_hand_computed_score() -> None:
    postings = postings_of({1: ["a", "a", "b", "c"], 2: ["b", "c"]})
    found = bm25.rank(postings, ["a"], 5)
    norm = 1.2 * (0.25 + 0.75 * 4 / 3)
    assert found.scores.tolist() == [pytest.approx(math.log(1 + 1.5 / 1.5) * 2 * 2.2 / (2 + norm))]


@pytest.mark.parametrize("query", [[], ["unknown"]])
def test_nothing_to_find(query: list[str]) -> None:
    assert len(bm25.rank(postings_of({1: ["a"]}), query, 5)) == 0


def test_every_posting_deleted() -> None:
    assert len(bm25.rank(postings_of({1: ["a"], 2: ["b"]}, deleted=[1]), ["a"], 5)) == 0


@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(1, 65535), st.integers(1, 65535)), max_size=20)
)
def test_pack_and_unpack_are_inverse(rows: list[tuple[int, int, int]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    block = bm25.pack(*columns)
    assert len(block) == bm25.BYTES_PER_POSTING * len(rows)
    term = bm25.unpack("t", [block, b"", block])
    assert term.ids.tolist() == columns[0] * 2
    assert term.frequencies.tolist() == columns[1] * 2
    assert term.lengths.tolist() == columns[2] * 2


def test_the_packed_layout_is_little_endian_posting_by_posting() -> None:
    assert bm25.pack([1, 258], [3, 4], [5, 6]).hex() == "0100000003000500" + "0201000004000600"


def test_blocks_are_joined_by_their_bytes() -> None:
    assert bm25.pack([1], [3], [5]) + bm25.pack([2], [4], [6]) == bm25.pack([1, 2], [3, 4], [5, 6])


@given(chunks=CHUNKS)
def test_inverting_gives_each_term_its_postings_and_lists_every_chunk(chunks: list[list[str]]) -> None:
    numbered = {7 * i: terms for i, terms in enumerate(chunks)}
    blocks = bm25.invert(numbered.items())
    assert [term for term, _ in blocks] == ["", *sorted({term for terms in chunks for term in terms})]
    for term, block in blocks:
        found = bm25.unpack(term, [block])
        rows = list(zip(found.ids.tolist(), found.frequencies.tolist(), found.lengths.tolist(), strict=True))
        within = [(i, terms) for i, terms in numbered.items() if term in terms or not term]
        assert rows == [(i, terms.count(term) if term else 0, len(terms)) for i, terms in within]


def test_inverting_nothing() -> None:
    assert bm25.invert([]) == []


@given(
    ids=st.lists(st.integers(0, 2**31 - 1), unique=True, max_size=20),
    cut=st.integers(0, 20),
    gone=st.sets(st.integers(0, 2**31 - 1)),
    chosen=st.data(),
)
def test_merging_sorts_and_leaves_out_what_is_gone(
    ids: list[int], cut: int, gone: set[int], chosen: st.DataObject
) -> None:
    if ids:
        gone |= chosen.draw(st.sets(st.sampled_from(ids)))
    blocks = [
        bm25.pack(part, [i % 9 for i in part], [i % 7 for i in part]) for part in (ids[:cut], ids[cut:])
    ]
    left = sorted(set(ids) - gone)
    merged = bm25.merge(blocks, np.array(sorted(gone), np.int32))
    assert merged == bm25.pack(left, [i % 9 for i in left], [i % 7 for i in left])


def test_unpacking_nothing() -> None:
    empty = bm25.unpack("t", [])
    assert [len(a) for a in (empty.ids, empty.frequencies, empty.lengths)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("ids", "frequencies", "lengths"),
    [([2**31], [1], [1]), ([1], [65536], [1]), ([1], [1], [65536]), ([1], [-1], [1]), ([1, 2], [1], [1])],
)
def test_numbers_that_do_not_fit_are_refused(
    ids: list[int], frequencies: list[int], lengths: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"fit|equally long"):
        bm25.pack(ids, frequencies, lengths)


def test_a_truncated_block_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number"):
        bm25.unpack("t", [bm25.pack([1], [1], [1])[:-1]])


def test_is_fast_on_three_hundred_thousand_chunks() -> None:
    random = np.random.default_rng(0)
    terms = []
    for number in range(6):
        ids = random.choice(300_000, 9_333, replace=False).astype(np.int32)
        counts = random.integers(1, 6, len(ids), np.uint16)
        terms.append(TermPostings(str(number), ids, counts, random.integers(20, 200, len(ids), np.int32)))
    deleted = np.sort(random.choice(300_000, 3_000, replace=False)).astype(np.int32)
    postings = Postings(297_000, 297_000 * 110, tuple(terms), deleted)
    query = [str(number) for number in range(6)]
    bm25.rank(postings, query, 100)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        bm25.rank(postings, query, 100)
        times.append(time.perf_counter() - began)
    # It takes 3 ms or so; the bound only catches a change of its order of growth.
    assert min(times) < 0.05


def test_a_term_that_a_store_returns_twice_is_one() -> None:
    once = postings_of({1: ["a", "b"], 2: ["a"], 3: ["b"]})
    twice = Postings(once.count, once.total_length, once.terms * 2, once.deleted)
    for one, other in zip(*(vars(bm25.rank(each, ["a"], 3)).values() for each in (once, twice)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("far", [1, 30_000, 5_000_000])
def test_few_postings_far_apart_are_ranked_as_those_close_together(far: int) -> None:
    """Sorted there, and put into a table here."""
    chunks = {1: ["a", "b"], 2: ["a", "a"], 3: ["b"], 4: ["a", "c", "c"]}
    near = bm25.rank(postings_of(chunks), ["a", "b"], 3)
    apart = bm25.rank(postings_of({chunk * far: terms for chunk, terms in chunks.items()}), ["a", "b"], 3)
    assert apart.ids.tolist() == [chunk * far for chunk in near.ids.tolist()]
    np.testing.assert_array_equal(apart.scores, near.scores)
