"""Who is served by a candidate version, and whether it may have more of the readers or must go back.

Difference of two shares: Newcombe (1998), "Interval Estimation for the Difference between Independent
Proportions", Statistics in Medicine 17, method 10, on Wilson's (1927) intervals. Percentiles: order
statistics, as in David & Nagaraja (2003), "Order Statistics", 7.1, by the normal approximation.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

STEPS = (1, 5, 25, 50)
# One-sided, 1 in 1,000: the guardrails are looked at again and again, and each look is a chance to be wrong.
Z = 3.09


@dataclass(frozen=True)
class Side:
    """What one version did since the step began.

    `degraded` queries lost an arm, `empty` ones found nothing. `latencies` are in milliseconds. Of the `asked`
    questions `unanswered` were declined or failed. Of `answers` with footnotes `opened` had one followed; of
    `judged` ones `unhelpful` were called so by their readers. Of `clicked` searches a result was opened: programs open
    none, so that no guardrail goes by it.
    """

    queries: int = 0
    degraded: int = 0
    empty: int = 0
    latencies: tuple[float, ...] = ()
    asked: int = 0
    unanswered: int = 0
    answers: int = 0
    opened: int = 0
    judged: int = 0
    unhelpful: int = 0
    clicked: int = 0


@dataclass(frozen=True)
class Policy:
    """When a step is over, and how much worse a candidate may be before it goes back.

    The margins are differences of shares, `slower` is a ratio of 95th percentiles. A guardrail is silent
    until either side has `least` of what it counts.
    """

    step_hours: float = 24.0
    step_queries: int = 100
    least: int = 20
    degraded: float = 0.01
    empty: float = 0.02
    unanswered: float = 0.05
    unopened: float = 0.05
    unhelpful: float = 0.05
    slower: float = 1.3


@dataclass(frozen=True)
class Guardrail:
    """One comparison. `candidate` and `live` are None where there was nothing to count."""

    name: str
    candidate: float | None
    live: float | None
    broken: bool
    reason: str = ""


# What each share counts, in words, and of a side (so many, of so many). The policy has a margin of each name.
RATES: dict[str, tuple[str, Callable[[Side], tuple[int, int]]]] = {
    "degraded": ("Searches that lost an arm", lambda side: (side.degraded, side.queries)),
    "empty": ("Searches that found nothing", lambda side: (side.empty, side.queries)),
    "unanswered": ("Questions without an answer", lambda side: (side.unanswered, side.asked)),
    "unopened": (
        "Answers of which no footnote was opened",
        lambda side: (side.answers - side.opened, side.answers),
    ),
    "unhelpful": ("Judged answers called unhelpful", lambda side: (side.unhelpful, side.judged)),
}

Action = Literal["wait", "step_up", "roll_back", "ready"]


@dataclass(frozen=True)
class Decision:
    """What is to be done with a canary, `percent` of the readers that it then has, and why."""

    action: Action
    percent: int
    reasons: tuple[str, ...]
    guardrails: tuple[Guardrail, ...]


def place(version: str, reader: str) -> float:
    """Where in 0 ≤ x < 1 a reader stands for a version: the same at any time and in any process."""
    digest = hashlib.sha256(f"{version}\0{reader}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def serves(version: str, reader: str, percent: float) -> bool:
    """Whether a candidate that has `percent` of the readers has this one. Whom it has it keeps as it grows."""
    return place(version, reader) < percent / 100


def decide(percent: int, hours: float, candidate: Side, live: Side, policy: Policy | None = None) -> Decision:
    """For a canary that has had `percent` of the readers for `hours`, by what both sides did since."""
    policy = policy or Policy()
    looked = guardrails(candidate, live, policy)
    if broken := tuple(each.reason for each in looked if each.broken):
        return Decision("roll_back", 0, broken, looked)
    if percent and (waits := waiting(hours, candidate, live, policy)):
        return Decision("wait", percent, waits, looked)
    following = next((step for step in STEPS if step > percent), None)
    if following is None:
        return Decision("ready", percent, (f"Healthy with {percent} % of the readers.",), looked)
    said = f"Healthy with {percent} % of the readers." if percent else "The canary begins."
    return Decision("step_up", following, (said,), looked)


def waiting(hours: float, candidate: Side, live: Side, policy: Policy) -> tuple[str, ...]:
    """What is still missing before the step is over."""
    reasons = []
    if hours < policy.step_hours:
        reasons.append(f"{hours:.1f} of {policy.step_hours:g} hours of this step are over.")
    for name, side in (("candidate", candidate), ("live version", live)):
        if side.queries < policy.step_queries:
            reasons.append(f"The {name} had {side.queries:,} of at least {policy.step_queries:,} queries.")
    return tuple(reasons)


def guardrails(candidate: Side, live: Side, policy: Policy) -> tuple[Guardrail, ...]:
    compared = [share(name, candidate, live, policy) for name in RATES]
    return (*compared, latency(candidate.latencies, live.latencies, policy.slower, policy.least))


def share(name: str, candidate: Side, live: Side, policy: Policy) -> Guardrail:
    """Broken if the candidate's share of bad ones is surely more than the policy's margin above the other."""
    what, counted = RATES[name]
    (bad, of), (other, of_other) = counted(candidate), counted(live)
    here, there = (bad / of if of else None), (other / of_other if of_other else None)
    if here is None or there is None or min(of, of_other) < policy.least:
        return Guardrail(name, here, there, broken=False)
    low, _ = difference((bad, of), (other, of_other))
    broken = low > getattr(policy, name)
    said = f"{what}: {here:.1%} ({bad:,} of {of:,}) against {there:.1%} of the live version."
    return Guardrail(name, here, there, broken=broken, reason=said if broken else "")


def latency(
    candidate: Sequence[float], live: Sequence[float], ratio: float, least: int = 1, z: float = Z
) -> Guardrail:
    """Broken if the candidate's 95th percentile is surely more than `ratio` times the live version's."""
    here, there = percentile(candidate, z), percentile(live, z)
    if here is None or there is None or min(len(candidate), len(live)) < least:
        return Guardrail("p95_ms", here and here[1], there and there[1], broken=False)
    broken = here[0] > ratio * there[2]
    said = f"95 % of the searches took up to {here[1]:.0f} ms, against {there[1]:.0f} ms of the live version."
    return Guardrail("p95_ms", here[1], there[1], broken=broken, reason=said if broken else "")


def difference(one: tuple[int, int], other: tuple[int, int], z: float = Z) -> tuple[float, float]:
    """The interval of the difference of two shares, each (so many, of so many > 0)."""
    here, there = one[0] / one[1], other[0] / other[1]
    (low, high), (other_low, other_high) = wilson(*one, z), wilson(*other, z)
    return (
        here - there - math.hypot(here - low, other_high - there),
        here - there + math.hypot(high - here, there - other_low),
    )


def wilson(count: int, of: int, z: float = Z) -> tuple[float, float]:
    """The interval of a share of `of` > 0."""
    p, squared = count / of, z * z
    middle = (p + squared / (2 * of)) / (1 + squared / of)
    half = z * math.sqrt(p * (1 - p) / of + squared / (4 * of * of)) / (1 + squared / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def percentile(values: Sequence[float], z: float = Z, q: float = 0.95) -> tuple[float, float, float] | None:
    """The quantile's lower end, itself, and its upper end, which is infinite where the sample is too small."""
    if not values:
        return None
    ordered, n = sorted(values), len(values)
    half = z * math.sqrt(n * q * (1 - q))
    low, high = math.floor(n * q - half), math.ceil(n * q + half)
    return (
        ordered[low - 1] if low > 0 else 0.0,
        ordered[math.ceil(n * q) - 1],
        ordered[high] if high < n else math.inf,
    )
