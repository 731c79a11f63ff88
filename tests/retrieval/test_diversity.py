"""Maximal marginal relevance against the formula, and at its ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.diversity import maximal_marginal_relevance, word_similarity

RELEVANCES = st.lists(st.floats(0, 1), min_size=1, max_size=7)


def similarity(count: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).random((count, count))
    return np.maximum(made, made.T)


@given(RELEVANCES, st.floats(0, 1))
def test_it_is_the_formula_step_by_step(relevance: list[float], trade_off: float) -> None:
    alike = similarity(len(relevance))
    order = maximal_marginal_relevance(relevance, alike, trade_off)
    assert sorted(order) == list(range(len(relevance)))
    most = max(relevance) or 1.0
    for step, chosen in enumerate(order):

        def marginal(place: int, before: list[int] = order[:step]) -> float:
            nearest = max((alike[place, other] for other in before), default=0.0)
            return trade_off * relevance[place] / most - (1 - trade_off) * nearest

        assert marginal(chosen) == pytest.approx(max(marginal(place) for place in order[step:]))


@given(RELEVANCES)
def test_with_1_the_order_is_that_of_relevance(relevance: list[float]) -> None:
    order = maximal_marginal_relevance(relevance, similarity(len(relevance)), 1.0)
    assert [relevance[place] for place in order] == sorted(relevance, reverse=True)


def test_what_repeats_the_best_comes_later() -> None:
    alike = word_similarity(["cats sleep on mats", "cats sleep on mats", "bread is baked"])
    assert alike[0].tolist() == [1.0, 1.0, 0.0]
    assert maximal_marginal_relevance([1.0, 0.9, 0.5], alike, 0.5) == [0, 2, 1]


def test_texts_without_terms_are_no_division_by_zero() -> None:
    assert word_similarity(["", "the of"])[0, 1] == 0


@pytest.mark.parametrize("trade_off", [-0.1, 1.1, float("nan")])
def test_a_trade_off_out_of_range_is_refused(trade_off: float) -> None:
    with pytest.raises(ValueError, match="trade-off"):
        maximal_marginal_relevance([1.0], np.eye(1), trade_off)
