"""The metrics equal ir-measures on random rankings and judgements."""

import math

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, R, nDCG

from retrieval.metrics import mean, ndcg, recall, reciprocal_rank

DOCUMENTS = [f"d{number}" for number in range(15)]
JUDGEMENTS = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 4), min_size=1)
RANKINGS = st.lists(st.sampled_from(DOCUMENTS), unique=True, min_size=1)


@settings(max_examples=60, deadline=None)
@given(ranking=RANKINGS, judgements=JUDGEMENTS, k=st.integers(1, 20))
def test_equal_to_ir_measures(ranking: list[str], judgements: dict[str, int], k: int) -> None:
    run = {"q": {document: float(-rank) for rank, document in enumerate(ranking)}}
    theirs = ir_measures.calc_aggregate([nDCG @ k, R @ k, RR @ k], {"q": judgements}, run)
    assert ndcg(ranking, judgements, k) == pytest.approx(theirs[nDCG @ k])
    assert reciprocal_rank(ranking, judgements, k) == pytest.approx(theirs[RR @ k])
    if any(judgements.values()):  # theirs is not a number where nothing is relevant
        assert recall(ranking, judgements, k) == pytest.approx(theirs[R @ k])


def test_mean_is_over_the_queries_with_something_to_find() -> None:
    judgements = {"found": {"a": 1}, "missed": {"b": 2}, "unranked": {"c": 1}, "nothing": {"a": 0}}
    rankings = {"found": ["x", "a"], "missed": ["x"], "nothing": ["a"], "unjudged": ["a"]}
    assert mean(reciprocal_rank, rankings, judgements, 10) == pytest.approx(0.5 / 3)


def test_the_mean_of_nothing_is_not_a_number() -> None:
    assert math.isnan(mean(ndcg, {}, {"q": {"a": 0}}, 10))
