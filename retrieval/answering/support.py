"""How well the passages support an answer: a question's confidence before a word is written."""

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from retrieval.analysis import analyse
from retrieval.evidence import Passage

BEST = 3
# A word with a capital, a digit or an underscore that does not begin a sentence.
NAME = re.compile(r"(?<=[^\s.?!:]\s)\S*[A-Z0-9_]\S*")

# Weights of a logistic regression on questions with and without an answer, rounded.
MEANING = 8.0
COVERED = 4.0
TOGETHER = 2.0
NAMED = 4.0
OFFSET = -11.0


@dataclass(frozen=True)
class Features:
    """What speaks for an answer, each in [0, 1] but for a cosine below 0.

    `meaning`: the cosine of the question and the nearest sentence. `covered`: the part of the
    question's terms that the three best passages hold. `together`: the most that one passage
    holds, terms weighted by their rarity among the passages. `named`: the part of the question's
    names and identifiers that any passage holds, 1 if it has none.
    """

    meaning: float
    covered: float
    together: float
    named: float


def support(features: Features) -> float:
    """The confidence that an answer is there, in [0, 1]."""
    return 1 / (
        1
        + math.exp(
            -(
                OFFSET
                + MEANING * features.meaning
                + COVERED * features.covered
                + TOGETHER * features.together
                + NAMED * features.named
            )
        )
    )


def features(question: str, passages: Sequence[Passage], meaning: float) -> Features:
    """Features of a question and its passages, best first; at least one."""
    terms = set(analyse(question))
    held = [frozenset(analyse(" ".join([p.title, *p.heading_path, p.text]))) for p in passages]
    rarity = rarities(terms, held)
    return Features(
        meaning=meaning,
        covered=_part(terms, frozenset().union(*held[:BEST])),
        together=max(weighted_part(rarity, one) for one in held),
        named=_part(set(names(question)), frozenset().union(*held)),
    )


def names(question: str) -> list[str]:
    """The analysed names and identifiers of a question; the whole of each, without its parts."""
    found = (analyse(match[0]) for match in NAME.finditer(question))
    return [terms[0] for terms in found if terms]


def rarities(terms: Collection[str], held: Sequence[Collection[str]]) -> dict[str, float]:
    """1 + BM25's idf of each term among these few texts; there are no statistics of the corpus here."""
    counts = Counter(term for one in held for term in one)
    return {t: 1 + math.log(1 + (len(held) - counts[t] + 0.5) / (counts[t] + 0.5)) for t in terms}


def weighted_part(weights: dict[str, float], held: Collection[str]) -> float:
    """The part of the terms' whole weight that `held` has; 0 if there are none."""
    whole = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in held) / whole if whole else 0.0


def _part(wanted: Collection[str], held: Collection[str]) -> float:
    return sum(term in held for term in wanted) / len(wanted) if wanted else 1.0
