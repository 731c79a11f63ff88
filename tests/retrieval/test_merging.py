"""Several indexes in spaces of their own give one ranking, as one index would."""

from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.analysis import analyse
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.explaining import explanations
from retrieval.fusion import Strategy
from retrieval.memory import MemoryDense, MemoryLexical
from retrieval.merging import Space, merged, on_one_scale
from retrieval.protocols import NOTHING, Ranked
from retrieval.ranking import Hits, Retriever, unranked
from tests.contracts import within

RNG = np.random.default_rng(3)
WORDS = [f"word{number}" for number in range(60)]
TEXTS = {
    chunk: " ".join(RNG.choice(WORDS, RNG.integers(4, 30), p=np.arange(60, 0, -1) / 1830))
    for chunk in range(80)
}
QUESTIONS = [" ".join(RNG.choice(WORDS, 3)) for _ in range(20)]


class Narrowed:
    """The same vectors in another space, in which all cosines are high: a constant is put beside them."""

    def __init__(self, constant: float) -> None:
        self.inner, self.constant = HashingEmbedder(), constant

    def embed(self, texts: list[str], kind: str) -> NDArray[np.float32]:
        made = self.inner.embed(texts, "document")
        wide = np.hstack([made, np.full((len(made), 1), self.constant, np.float32)])
        return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float32)


def index(chunks: range, embedder: object, executor: Executor, strategy: Strategy = "convex") -> Retriever:
    dense, lexical = MemoryDense(), MemoryLexical()
    for chunk in chunks:
        dense.add(chunk, 1, embedder.embed([TEXTS[chunk]], "document")[0])  # type: ignore[attr-defined]
        lexical.add(chunk, 1, analyse(TEXTS[chunk]))
    return Retriever(dense, lexical, embedder, 0.8, 100, executor, strategy)  # type: ignore[arg-type]


def space(of: Retriever, question: str) -> Space:
    """All chunks of so small an index are its noise."""
    hits = of.search(question, within(1))
    return Space(hits, hits.dense.scores)


def hits(dense: Ranked, lexical: Ranked = NOTHING) -> Hits:
    return replace(unranked([]), dense=dense, lexical=lexical)


def ranked(*scores: float, start: int = 1) -> Ranked:
    return Ranked(np.arange(start, start + len(scores)), np.array(scores))


def test_one_index_stays_as_it_is(executor: Executor) -> None:
    found = index(range(80), HashingEmbedder(), executor).search(QUESTIONS[0], within(1))
    assert merged([Space(found)]) is found
    assert list(merged([])) == []


def test_words_are_ranked_as_in_one_index(executor: Executor) -> None:
    whole, one, other = (
        index(part, HashingEmbedder(), executor) for part in (range(80), range(20), range(20, 80))
    )
    for question in QUESTIONS:
        expected = whole.search(question, within(1)).lexical
        found = merged([space(one, question), space(other, question)]).lexical
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.scores == pytest.approx(expected.scores)


@pytest.mark.parametrize("strategy", ["convex", "reciprocal_rank"])
def test_halves_in_different_spaces_rank_nearly_as_one_index(executor: Executor, strategy: Strategy) -> None:
    plain, narrow = HashingEmbedder(), Narrowed(2.0)
    whole = index(range(80), plain, executor, strategy)
    one, other = (
        index(range(0, 40), plain, executor, strategy),
        index(range(40, 80), narrow, executor, strategy),
    )
    kept, raw = 0, 0
    for question in QUESTIONS:
        best = set(whole.search(question, within(1), 5).fused.ids.tolist())
        spaces = [space(one, question), space(other, question)]
        kept += len(best & set(merged(spaces).fused.ids[:5].tolist()))
        by_cosine = sorted(
            ((score, chunk) for each in spaces for chunk, score in zip(
                each.hits.dense.ids.tolist(), each.hits.dense.scores.tolist(), strict=True)),
            reverse=True,
        )[:5]  # fmt: skip
        raw += len(best & {chunk for _, chunk in by_cosine})
    assert kept >= 0.7 * 5 * len(QUESTIONS)
    assert kept > raw + 20, "the narrow space's cosines are all higher"


def test_what_is_noise_in_its_own_space_does_not_win() -> None:
    rng = np.random.default_rng(1)
    good = Space(hits(ranked(0.6, 0.3)), rng.normal(0.1, 0.05, 100))
    noisy = Space(hits(ranked(0.9, 0.89, start=11)), rng.normal(0.88, 0.02, 100))
    assert merged([good, noisy]).fused.ids[0] == 1


def test_spaces_are_brought_to_the_mean_one() -> None:
    wide, narrow = np.array([-0.4, 0.4] * 10), np.array([0.7, 0.9] * 10)
    one, other = on_one_scale([Space(hits(ranked(0.4)), wide), Space(hits(ranked(0.9, start=2)), narrow)])
    # Each is one deviation above its noise: 0.4 + 0.25 in the mean space.
    assert one.scores == pytest.approx([0.65])
    assert other.scores == pytest.approx([0.65])
    same = on_one_scale([Space(hits(ranked(0.3)), wide), Space(hits(ranked(0.2, start=2)), wide)])
    assert [each.scores.tolist() for each in same] == [pytest.approx([0.3]), pytest.approx([0.2])]


def test_odd_noise_is_no_error() -> None:
    far_below = on_one_scale([Space(hits(ranked(-0.9)), np.array([0.9, 0.91] * 10)), Space(hits(NOTHING))])
    assert [each.scores.tolist() for each in far_below] == [pytest.approx([-0.9])]
    constant = [Space(hits(ranked(0.5, 0.5, start=start)), np.full(20, 0.5)) for start in (1, 11)]
    assert all(np.isfinite(each.scores).all() for each in on_one_scale(constant))
    assert on_one_scale([Space(hits(NOTHING), np.zeros(20))]) == []


@pytest.mark.parametrize("noise", [None, np.array([0.1])])
def test_where_one_noise_is_not_known_all_go_by_their_candidates(noise: NDArray[np.float64] | None) -> None:
    known = Space(hits(ranked(0.3, 0.2, 0.1)), np.linspace(-1, 1, 50))
    one, other = on_one_scale([known, Space(hits(ranked(0.9, 0.8, 0.7, start=11)), noise)])
    assert one.scores == pytest.approx(other.scores)


def test_an_index_that_lost_an_arm_still_counts(executor: Executor) -> None:
    one, other = (
        index(range(40), HashingEmbedder(), executor),
        index(range(40, 80), HashingEmbedder(), executor),
    )
    whole = space(one, QUESTIONS[0])
    lost = other.search(QUESTIONS[0], within(1))
    lost = replace(lost, dense=NOTHING, missing=("embed",), fused=lost.lexical)
    found = merged([whole, Space(lost)])
    assert found.missing == ("embed",)
    assert {chunk >= 40 for chunk in found.lexical.ids.tolist()} == {False, True}
    wordless = replace(lost, lexical=NOTHING, postings=None, terms=(), missing=("lexical",))
    assert len(merged([whole, Space(wordless)]).lexical) == len(whole.hits.lexical)


def test_other_terms_are_not_added_up(executor: Executor) -> None:
    one, other = (
        space(index(part, HashingEmbedder(), executor), QUESTIONS[0]) for part in (range(40), range(40, 80))
    )
    foreign = replace(other, hits=replace(other.hits, terms=("autre",)))
    found = merged([one, foreign])
    assert found.postings is None
    assert len(found.lexical) == len(one.hits.lexical) + len(other.hits.lexical)


def test_questions_without_words_are_listed_in_turns() -> None:
    found = merged([Space(unranked([1, 2])), Space(unranked([11, 12]))])
    assert found.fused.ids.tolist() == [1, 11, 2, 12]


def test_explanations_add_up(executor: Executor) -> None:
    one, other = index(range(40), HashingEmbedder(), executor), index(range(40, 80), Narrowed(2.0), executor)
    found = merged([space(one, QUESTIONS[1]), space(other, QUESTIONS[1])])
    for chunk, reason in explanations(found, found.fused.ids[:10].tolist()).items():
        given = sum(arm.gives for arm in (reason.dense, reason.lexical) if arm)
        assert given == pytest.approx(reason.fused), chunk
        if reason.lexical:
            assert sum(term.score for term in reason.terms) == pytest.approx(reason.lexical.score)
