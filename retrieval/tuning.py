"""The weight of the dense arm, learned from judged questions, and whether that is more than chance.

Cross-validation over questions: the weight that is best for the others is judged on those held out. The
interval of the mean gain is a bootstrap's over questions, as in Sakai (2006), "Evaluating Evaluation
Metrics based on the Bootstrap", SIGIR. It leaves out that the folds share most of their questions, which on
noise calls up to one in ten gains real; so the best of all weights must also pass the test of the maximum
(Westfall & Young, 1993, "Resampling-Based Multiple Testing"), which knows how many were tried.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion import Fusion
from retrieval.metrics import Judgements, ndcg
from retrieval.protocols import Ranked

WEIGHTS = tuple(round(0.05 * step, 2) for step in range(21))
FOLDS = 5
LEAST_QUESTIONS = 50
CUT = 10
SAMPLES = 5_000
SIGNIFICANT = 0.025  # one-sided, as the end of a 95 % interval is
SEED = 20_240_501


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Tuning:
    """What judged questions say of the weight.

    `by_weight` is nDCG@10 of each, `current` the weight that serves, None where reciprocal rank fusion does.
    `gain` is how much better than by what serves the held-out questions are ranked with a weight that was
    chosen without them; `chance` is how often the best of as many weights
    looks as good where none is better. `refusal` says why `best` is not to be used, or is empty.
    """

    questions: int
    current: float | None
    best: float
    by_weight: Mapping[float, Interval]
    fold_weights: tuple[float, ...]
    gain: Interval
    chance: float
    refusal: str


@dataclass(frozen=True)
class Judged:
    """One question: its documents as each arm ranks them, their names by number, and the judgements."""

    dense: Ranked
    lexical: Ranked
    names: Sequence[str]
    judgements: Judgements


def tune(questions: Sequence[Judged], current: Fusion, weights: Sequence[float] = WEIGHTS) -> Tuning:
    """`current` is what serves now. Raises ValueError where no question has a relevant document."""
    judged = [question for question in questions if any(grade > 0 for grade in question.judgements.values())]
    if not judged:
        raise ValueError("None of the questions has a document that was judged relevant")
    found = worth(judged, [*map(Fusion, weights), current])
    return tuned(found, tuple(weights), current.weight if current.weighted else None)


def worth(questions: Sequence[Judged], fusions: Sequence[Fusion]) -> NDArray[np.float64]:
    """(questions, fusions): nDCG@10 of the fused ranking of documents."""
    return np.array([[ndcg_of(question, fusion) for fusion in fusions] for question in questions])


def ndcg_of(question: Judged, fusion: Fusion) -> float:
    fused = fusion.fuse(question.dense, question.lexical).top(CUT)
    return ndcg([question.names[number] for number in fused.ids.tolist()], question.judgements, CUT)


def tuned(found: NDArray[np.float64], weights: tuple[float, ...], current: float | None) -> Tuning:
    """The decision; the last column of `found` is of what serves, by the weight `current` if by any."""
    table, now = found[:, :-1], found[:, -1]
    chosen, gains = held_out(table, now, weights, current)
    best = choice(table, weights, current)
    gain, luck = interval(gains), chance(table - now[:, None])
    return Tuning(
        questions=len(table),
        current=current,
        best=best,
        by_weight={weight: interval(table[:, place]) for place, weight in enumerate(weights)},
        fold_weights=chosen,
        gain=gain,
        chance=luck,
        refusal=refusal(len(table), best, current, gain, luck),
    )


def held_out(
    table: NDArray[np.float64], now: NDArray[np.float64], weights: Sequence[float], current: float | None
) -> tuple[tuple[float, ...], NDArray[np.float64]]:
    """The weight that each fold's others choose, and what it gains each question of the fold, (questions,)."""
    places = list(range(len(table)))
    random.Random(SEED).shuffle(places)  # noqa: S311  # folds, not a secret
    chosen: list[float] = []
    gains = np.zeros(len(table))
    for fold in range(min(FOLDS, len(places))):
        out = places[fold::FOLDS]
        others = sorted(set(places) - set(out))
        if not others:
            break  # a single question has no others to choose by
        weight = choice(table[others], weights, current)
        chosen.append(weight)
        if weight != current:
            gains[out] = table[out, list(weights).index(weight)] - now[out]
    return tuple(chosen), gains


def choice(table: NDArray[np.float64], weights: Sequence[float], current: float | None) -> float:
    """The weight of the highest mean; among equals the one nearest to the current one, or to none of the arms."""
    means, middle = table.mean(axis=0), 0.5 if current is None else current
    return min(zip(weights, means, strict=True), key=lambda one: (-round(one[1], 9), abs(one[0] - middle)))[0]


def interval(values: NDArray[np.float64]) -> Interval:
    """Percentile bootstrap over the questions, seeded."""
    chance = np.random.default_rng(SEED)
    means = [
        values[chance.integers(0, len(values), (500, len(values)))].mean(axis=1)
        for _ in range(SAMPLES // 500)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def chance(gains: NDArray[np.float64]) -> float:
    """How often the best of the columns gains so much where none of them gains anything, by resampling rows.

    `gains` (questions, weights). Each column counts in its own standard errors; the centred ones are drawn.
    """
    count = len(gains)
    spread = gains.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else np.zeros(gains.shape[1])
    told = spread > 0
    if not told.any():
        return 0.0 if gains.mean(axis=0).max() > 0 else 1.0
    best = (gains.mean(axis=0)[told] / spread[told]).max()
    centred = gains[:, told] - gains[:, told].mean(axis=0)
    draws = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), SAMPLES)
    # Rows drawn with their number of times: the mean of a sample is one product.
    means = draws @ centred / count
    squares = np.maximum(draws @ centred**2 / count - means**2, 0) / max(count - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.nan_to_num(means / np.sqrt(squares), nan=0.0, posinf=0.0, neginf=0.0).max(axis=1)
    return float((found >= best).mean())


def refusal(questions: int, best: float, current: float | None, gain: Interval, luck: float) -> str:
    """Why the profile is to stay as it is, or nothing."""
    if questions < LEAST_QUESTIONS:
        return (
            f"{questions} judged questions are too few to tell a better weight from a lucky one: "
            f"at least {LEAST_QUESTIONS} are needed."
        )
    if best == current:
        return f"The weight {best:g} is the best already."
    if gain.low <= 0:
        return (
            f"On held-out questions the gain in nDCG@10 is {gain.mean:+.4f}, with a 95 % interval from "
            f"{gain.low:+.4f} to {gain.high:+.4f}: that may be chance."
        )
    if luck > SIGNIFICANT:
        return (
            f"The best of so many weights looks as good by chance in {luck:.1%} of all cases; "
            f"{SIGNIFICANT:.1%} is the most that is taken."
        )
    return ""
