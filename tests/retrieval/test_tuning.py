"""A weight is learned where the questions bear it out, and refused where they do not."""

import numpy as np
import pytest

from retrieval import tuning
from retrieval.fusion import Fusion
from retrieval.protocols import Ranked
from retrieval.tuning import Judged, interval, ndcg_of, tune, tuned

WEIGHTS = (0.0, 0.5, 1.0)


def ranked(scores: dict[int, float]) -> Ranked:
    order = sorted(scores, key=lambda number: (-scores[number], number))
    return Ranked(np.array(order, np.int64), np.array([scores[number] for number in order], np.float64))


def question(*, words_know: bool) -> Judged:
    """Document 0 is relevant: the words put it first, or the vectors do; the other arm puts it last."""
    right, wrong = {0: 1.0, 1: 0.5, 2: 0.2}, {2: 1.0, 1: 0.5, 0: 0.0}
    dense, lexical = (wrong, right) if words_know else (right, wrong)
    return Judged(ranked(dense), ranked(lexical), ["a", "b", "c"], {"a": 1})


def test_the_arm_that_knows_gets_the_weight() -> None:
    found = tune([question(words_know=True)] * 60, current=Fusion(1.0), weights=WEIGHTS)
    assert (found.best, found.refusal, found.questions) == (0.5, "", 60), "the nearest of those that do"
    assert found.gain.mean == pytest.approx(found.by_weight[0.5].mean - found.by_weight[1.0].mean)
    assert found.gain.low > 0
    assert set(found.fold_weights) == {0.5}


def test_too_few_questions_are_refused_whatever_the_gain() -> None:
    found = tune([question(words_know=True)] * 49, current=Fusion(1.0), weights=WEIGHTS)
    assert "49 judged questions are too few" in found.refusal


def test_the_current_weight_stays_where_it_is_best() -> None:
    found = tune([question(words_know=False)] * 60, current=Fusion(1.0), weights=WEIGHTS)
    assert found.refusal == "The weight 1 is the best already."
    assert (found.gain.mean, found.gain.low, found.gain.high) == (0, 0, 0)


def test_a_weight_is_compared_with_the_ranks_where_these_serve() -> None:
    """Both arms know half of it: whatever weight they have, the ranks together find it as well or better."""
    scores = {0: 0.9, 1: 1.0, 2: 0.1}
    both = Judged(ranked({**scores, 2: 0.95}), ranked({0: 1.0, 2: 0.9}), ["a", "b", "c"], {"a": 1})
    serving = Fusion(1.0, "reciprocal_rank")
    found = tune([both] * 60, current=serving, weights=WEIGHTS)
    assert found.current is None
    assert found.gain.mean == pytest.approx(
        max(one.mean for one in found.by_weight.values()) - ndcg_of(both, serving)
    )
    assert "may be chance" in found.refusal
    assert not tune([both] * 60, current=Fusion(1.0), weights=WEIGHTS).refusal


def test_a_single_question_has_no_others_to_choose_by() -> None:
    found = tune([question(words_know=True)], current=Fusion(1.0), weights=WEIGHTS)
    assert (found.fold_weights, found.gain.mean) == ((), 0)


def test_chance_alone_is_hardly_ever_taken_for_a_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "SAMPLES", 1000)
    draw = np.random.default_rng(7)
    columns = len(tuning.WEIGHTS)
    taken = 0
    for _ in range(40):
        noise = draw.random((60, 1)) + np.cumsum(draw.normal(0, 0.05, (60, columns)), axis=1)
        found = tuned(np.hstack([noise, noise[:, 16:17]]), tuning.WEIGHTS, 0.8)
        taken += not found.refusal
    assert taken <= 2


def test_a_gain_on_the_questions_themselves_is_none_on_held_out_ones() -> None:
    """Each weight is right for some folds, and whoever leaves one out chooses wrongly for it."""
    table = np.zeros((50, 3))
    places = list(range(50))
    tuning.random.Random(tuning.SEED).shuffle(places)
    for fold in range(5):
        out = places[fold::5]
        table[out, 0] = 1.0 if fold < 3 else 0.0
        table[out, 1] = 0.0 if fold < 3 else 1.0
    chosen, gains = tuning.held_out(table, table[:, -1], WEIGHTS, 1.0)
    assert table[:, 0].mean() == pytest.approx(0.6)
    assert chosen == (0.5, 0.5, 0.5, 0.0, 0.0)
    assert gains.sum() == 0


def test_the_more_weights_are_tried_the_more_is_chance() -> None:
    draw = np.random.default_rng(3)
    gain = draw.normal(0.08, 0.2, (80, 1))
    alone = tuning.chance(gain)
    among_many = tuning.chance(np.hstack([gain, draw.normal(0, 0.2, (80, 30))]))
    assert alone < 0.02 < among_many
    assert tuning.chance(np.zeros((80, 3))) == 1.0


def test_equal_weights_give_way_to_the_nearest() -> None:
    assert tuning.choice(np.ones((5, 3)), WEIGHTS, 0.6) == 0.5


def test_the_interval_is_seeded_and_holds_the_mean() -> None:
    values = np.random.default_rng(1).normal(0.1, 0.2, 100)
    one = interval(values)
    assert one == interval(values)
    assert one.low < one.mean < one.high
    half = 1.96 * values.std(ddof=1) / 10
    assert (one.high - one.low) / 2 == pytest.approx(half, rel=0.15)


def test_worth_is_the_metric_of_the_fused_ranking() -> None:
    assert ndcg_of(question(words_know=True), Fusion(0.0)) == 1.0
    assert ndcg_of(question(words_know=True), Fusion(1.0)) == pytest.approx(1 / np.log2(4))


def test_without_judgements_there_is_nothing_to_learn() -> None:
    nothing = Judged(ranked({1: 1.0}), ranked({}), ["a", "b"], {"a": 0})
    with pytest.raises(ValueError, match="judged relevant"):
        tune([nothing], Fusion())
