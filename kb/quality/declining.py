"""Does the answer decline when it should? A threshold set on one half of the questions, judged on the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Trial:
    """One question that was asked: the answer's confidence, and whether the corpus holds an answer."""

    id: str
    confidence: float
    answerable: bool


@dataclass(frozen=True)
class Declined:
    """Of a set of trials: how many were declined, rightly and wrongly."""

    unanswerable_declined: int
    unanswerable: int
    answerable_declined: int
    answerable: int


def halves(trials: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """Every other question of each kind goes to the second half."""
    first: list[Trial] = []
    second: list[Trial] = []
    for answerable in (True, False):
        alike = sorted(
            (trial for trial in trials if trial.answerable is answerable), key=lambda trial: trial.id
        )
        first += alike[::2]
        second += alike[1::2]
    return first, second


def best_threshold(trials: Sequence[Trial]) -> float:
    """The confidence below which declining balances best: the highest sum of both rates, in the widest gap."""
    values = sorted({trial.confidence for trial in trials})
    cuts = [0.0, *((low + high) / 2 for low, high in pairwise(values))]

    def worth(cut: float) -> tuple[float, float]:
        counted = count(trials, cut)
        right = counted.unanswerable_declined / max(counted.unanswerable, 1)
        wrong = counted.answerable_declined / max(counted.answerable, 1)
        return right - wrong, min((abs(value - cut) for value in values), default=0.0)

    return max(cuts, key=worth)


def count(trials: Sequence[Trial], threshold: float) -> Declined:
    declined = [trial for trial in trials if trial.confidence < threshold]
    return Declined(
        unanswerable_declined=sum(not trial.answerable for trial in declined),
        unanswerable=sum(not trial.answerable for trial in trials),
        answerable_declined=sum(trial.answerable for trial in declined),
        answerable=sum(trial.answerable for trial in trials),
    )
