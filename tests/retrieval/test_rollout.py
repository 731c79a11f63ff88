"""Who is in the canary, and what becomes of it: the whole decision as a table."""

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats

from retrieval.rollout import (
    STEPS,
    Policy,
    Side,
    decide,
    difference,
    latency,
    percentile,
    place,
    serves,
    wilson,
)

READERS = [f"user {number}" for number in range(20_000)]
FAST = tuple(float(10 + number % 10) for number in range(400))
SLOW = tuple(3 * value for value in FAST)
GOOD = Side(400, 0, 4, FAST, 250, 50, answers=200, opened=100, judged=50, unhelpful=5)


def test_the_place_is_fixed() -> None:
    # The first 48 bits of sha256("7\0user 1"), which other processes and releases must agree on.
    assert place("7", "user 1") == 0.12336319212275271
    assert 0 <= place("7", "user 1") < 1
    assert place("7", "user 1") != place("8", "user 1")


@pytest.mark.parametrize("percent", STEPS)
def test_a_share_of_the_readers_is_served(percent: int) -> None:
    served = sum(serves("7", reader, percent) for reader in READERS)
    assert served / len(READERS) == pytest.approx(percent / 100, rel=0.15)


def test_places_are_uniform_and_those_of_two_versions_are_independent() -> None:
    one, other = (np.array([place(version, reader) for reader in READERS]) for version in ("7", "8"))
    assert stats.kstest(one, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03


def test_whom_a_canary_has_it_keeps_as_it_grows() -> None:
    served = [{reader for reader in READERS if serves("7", reader, step)} for step in (0, *STEPS, 100)]
    assert served[0] == set()
    assert served[-1] == set(READERS)
    assert all(small <= large for small, large in itertools.pairwise(served))


@pytest.mark.parametrize(
    ("percent", "hours", "candidate", "live", "action", "after", "broken"),
    [
        (0, 0, Side(), Side(), "step_up", 1, []),
        (1, 30, GOOD, GOOD, "step_up", 5, []),
        (5, 30, GOOD, GOOD, "step_up", 25, []),
        (25, 24, GOOD, GOOD, "step_up", 50, []),
        (50, 30, GOOD, GOOD, "ready", 50, []),
        (1, 2, GOOD, GOOD, "wait", 1, []),
        (1, 30, Side(99), GOOD, "wait", 1, []),
        (1, 30, GOOD, Side(99), "wait", 1, []),
        (1, 30, Side(), Side(), "wait", 1, []),
        # A guardrail breaks at any time, whatever the clock and the samples of a step say.
        (1, 0, Side(400, degraded=40), GOOD, "roll_back", 0, ["degraded"]),
        (5, 0, Side(400, empty=60), GOOD, "roll_back", 0, ["empty"]),
        (25, 1, Side(400, latencies=SLOW), GOOD, "roll_back", 0, ["p95_ms"]),
        (25, 1, Side(400, asked=200, unanswered=90), GOOD, "roll_back", 0, ["unanswered"]),
        (50, 1, Side(400, answers=200, opened=40), GOOD, "roll_back", 0, ["unopened"]),
        (50, 30, Side(400, judged=50, unhelpful=30), GOOD, "roll_back", 0, ["unhelpful"]),
        (50, 1, Side(400, 40, 60, SLOW), GOOD, "roll_back", 0, ["degraded", "empty", "p95_ms"]),
        (5, 0, Side(20, empty=20), GOOD, "roll_back", 0, ["empty"]),
        # Too few to tell, or within the margin.
        (5, 0, Side(19, empty=19), GOOD, "wait", 5, []),
        (5, 0, Side(400, empty=60), Side(19), "wait", 5, []),
        (5, 30, Side(400, empty=10), GOOD, "step_up", 25, []),
        (5, 30, Side(400, latencies=SLOW[:10]), GOOD, "step_up", 25, []),
        (5, 30, Side(400, latencies=tuple(1.2 * value for value in FAST)), GOOD, "step_up", 25, []),
        # What is better than the live version is no reason to go back.
        (5, 30, GOOD, Side(400, 40, 60, SLOW, 250, 150, 200, 40, 50, 30), "step_up", 25, []),
    ],
)
def test_the_decision(
    percent: int, hours: float, candidate: Side, live: Side, action: str, after: int, broken: list[str]
) -> None:
    found = decide(percent, hours, candidate, live)
    assert (found.action, found.percent) == (action, after)
    assert [each.name for each in found.guardrails if each.broken] == broken
    assert found.reasons
    assert all(each.reason for each in found.guardrails if each.broken)


def test_the_policy_is_followed() -> None:
    eager = Policy(step_hours=0, step_queries=0)
    assert decide(1, 0, Side(), Side(), eager).action == "step_up"
    strict = Policy(slower=1.0)
    assert decide(1, 99, Side(400, latencies=SLOW), GOOD, strict).action == "roll_back"
    lax = Policy(slower=4.0)
    assert decide(1, 99, Side(400, latencies=SLOW), GOOD, lax).action == "step_up"


def test_versions_that_are_alike_seldom_go_back_however_often_they_are_looked_at() -> None:
    chance = random.Random(3)
    back = 0
    for _ in range(100):
        sides = [Side(), Side()]
        for _ in range(40):
            sides = [grown(side, chance, 50) for side in sides]
            if decide(50, 1, *sides).action == "roll_back":
                back += 1
                break
    assert back <= 1, "of 100 canaries that are as good as the live version, looked at 40 times each"


def grown(side: Side, chance: random.Random, queries: int) -> Side:
    empty = sum(chance.random() < 0.05 for _ in range(queries))
    latencies = tuple(chance.lognormvariate(3, 0.6) for _ in range(queries))
    return Side(side.queries + queries, 0, side.empty + empty, side.latencies + latencies)


def test_the_wilson_interval_is_scipys() -> None:
    for count, of in ((0, 10), (3, 10), (10, 10), (17, 400)):
        expected = stats.binomtest(count, of).proportion_ci(0.95, "wilson")
        assert wilson(count, of, 1.959964) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_difference_of_two_shares_is_newcombes() -> None:
    # Newcombe (1998), table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/10.
    for one, other, low, high in (
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ):
        assert difference(one, other, 1.959964) == pytest.approx((low, high), abs=1e-4)


def test_the_percentiles_interval_holds_it_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    true = float(stats.expon.ppf(0.95))
    held = 0
    for _ in range(500):
        found = percentile(rng.exponential(size=400).tolist(), 1.96)
        assert found is not None
        held += found[0] <= true <= found[2]
    assert held / 500 > 0.93


def test_a_small_sample_says_nothing_of_the_upper_end() -> None:
    assert percentile([]) is None
    found = percentile([1.0] * 50)
    assert found is not None
    assert math.isinf(found[2])
    assert not latency([1000.0] * 50, [1.0] * 50, 1.3).broken, "the live version's may be as slow"
    assert latency([1000.0] * 50, [1.0] * 400, 1.3).broken
