"""Fusion against the formulas, and its properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fusion import STRATEGIES, Fusion, Strategy, best_per_document, convex, reciprocal_rank
from retrieval.protocols import NOTHING, Ranked


def ranked(scores: dict[int, float]) -> Ranked:
    order = sorted(scores, key=lambda i: (-scores[i], i))
    return Ranked(np.array(order, np.int64), np.array([scores[i] for i in order], np.float64))


def as_dict(found: Ranked) -> dict[int, float]:
    return dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))


COSINES = st.dictionaries(st.integers(0, 30), st.floats(-1, 1), max_size=12).map(ranked)
BM25S = st.dictionaries(st.integers(0, 30), st.floats(0.01, 50), max_size=12).map(ranked)


def test_convex_by_hand() -> None:
    found = convex(ranked({1: 0.6, 2: 0.2}), ranked({2: 8.0, 3: 4.0}), weight=0.8)
    expected = {1: 0.8 * 1.6 / 1.6, 2: 0.8 * 1.2 / 1.6 + 0.2 * 1.0, 3: 0.2 * 0.5}
    assert as_dict(found) == pytest.approx(expected)
    assert found.ids.tolist() == [1, 2, 3]


@given(COSINES, BM25S, st.floats(0, 1))
def test_convex_is_the_formula(dense: Ranked, lexical: Ranked, weight: float) -> None:
    found = convex(dense, lexical, weight)
    cosines, bm25s = as_dict(dense), as_dict(lexical)
    assert set(found.ids.tolist()) == set(cosines) | set(bm25s)
    for chunk, score in as_dict(found).items():
        high = max(cosines.values(), default=0) + 1
        left = (cosines[chunk] + 1) / high if chunk in cosines and high else 0
        right = bm25s[chunk] / max(bm25s.values()) if chunk in bm25s else 0
        assert score == pytest.approx(weight * left + (1 - weight) * right)
    keys = list(zip((-found.scores).tolist(), found.ids.tolist(), strict=True))
    assert keys == sorted(keys)


@given(COSINES)
def test_one_arm_alone_keeps_its_order(dense: Ranked) -> None:
    assert np.all(np.diff(convex(dense, NOTHING).scores) <= 0)
    assert set(convex(dense, NOTHING).ids.tolist()) == set(dense.ids.tolist())


def test_nothing_from_either() -> None:
    assert len(convex(NOTHING, NOTHING)) == 0
    assert len(reciprocal_rank([NOTHING, NOTHING])) == 0
    assert len(reciprocal_rank([])) == 0


def test_opposite_vectors_alone_are_no_division_by_zero() -> None:
    assert convex(ranked({1: -1.0}), NOTHING).scores.tolist() == [0.0]


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        convex(NOTHING, NOTHING, weight)


def test_reciprocal_rank_by_hand() -> None:
    found = reciprocal_rank([ranked({1: 9.0, 2: 8.0}), ranked({2: 0.5, 3: 0.4})], k=60)
    assert as_dict(found) == pytest.approx({2: 1 / 62 + 1 / 61, 1: 1 / 61, 3: 1 / 62})
    assert found.ids.tolist() == [2, 1, 3]


def test_best_per_document_keeps_the_first_of_each() -> None:
    found = best_per_document(ranked({1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6}), {1: 70, 2: 50, 3: 70, 4: 60})
    assert found.ids.tolist() == [70, 50, 60]
    assert found.scores.tolist() == [0.9, 0.8, 0.6]


@given(COSINES, BM25S, st.floats(0, 1), st.sampled_from(STRATEGIES))
def test_every_strategy_scores_from_0_to_1(
    dense: Ranked, lexical: Ranked, weight: float, strategy: Strategy
) -> None:
    found = Fusion(weight, strategy).fuse(dense, lexical)
    assert set(found.ids.tolist()) == set(dense.ids.tolist()) | set(lexical.ids.tolist())
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in found.scores.tolist())


@given(COSINES, BM25S, st.floats(0, 1))
def test_ranks_alone_give_the_order_of_reciprocal_rank_fusion(
    dense: Ranked, lexical: Ranked, weight: float
) -> None:
    found, plain = Fusion(weight, "reciprocal_rank").fuse(dense, lexical), reciprocal_rank([dense, lexical])
    assert as_dict(found) == pytest.approx({chunk: score * 61 / 2 for chunk, score in as_dict(plain).items()})


def test_a_learned_weight_fuses_as_one_that_was_chosen() -> None:
    dense, lexical = ranked({1: 0.6, 2: 0.2}), ranked({2: 8.0, 3: 4.0})
    learned, chosen = Fusion(0.3, "learned").fuse(dense, lexical), convex(dense, lexical, 0.3)
    assert as_dict(learned) == as_dict(chosen)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="strategy"):
        Fusion(0.5, "sum")  # type: ignore[arg-type]
