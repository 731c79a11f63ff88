"""Runs of sentences of which an answer may consist, scored against a question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import analyse
from retrieval.answering.sentences import HEADING, LIST_ITEM, Span, sentence_spans
from retrieval.answering.support import names, rarities, weighted_part
from retrieval.evidence import Passage

# Found on the demo questions; the number of answers with the right quote is flat around them.
COVERAGE = 0.3
STANDING = 1.5
NAME_WEIGHT = 2.0

LEAST_TERMS = 2
LONGEST_HEADING = 80
HEADING_MARKS = "#=-~ \n"
FULL_STOPS = tuple(".!…。！｡:;`\"'”’»)]}|")
DUPLICATE = 0.7


@dataclass(frozen=True)
class Sentence:
    """A sentence that can be quoted: `passages[rank].text[start:end]`.

    `run` is the same for sentences that follow each other with nothing but small words between.
    `heading` is the heading or the question that it stands under, "" if there is none; its terms
    are not among `terms`.
    """

    rank: int
    run: int
    start: int
    end: int
    heading: str
    terms: frozenset[str]


@dataclass(frozen=True)
class Excerpt:
    """`passages[rank].text[start:end]`, one or more sentences that follow each other."""

    rank: int
    start: int
    end: int
    terms: frozenset[str]
    score: float


def sentences(passages: Sequence[Passage]) -> list[Sentence]:
    """What can be quoted: no headings, no questions, no fragments of a single term."""
    found: list[Sentence] = []
    run = 0
    for rank, passage in enumerate(passages):
        run += 1
        heading = passage.heading_path[-1] if passage.heading_path else ""
        for start, end in sentence_spans(passage.text):
            words = passage.text[start:end]
            terms = frozenset(analyse(words))
            if _is_heading(words, passage):
                run += 1
                heading = words.strip(HEADING_MARKS)
            elif len(terms) >= LEAST_TERMS:
                found.append(Sentence(rank, run, start, end, heading, terms))
    return found


def excerpts(
    question: str,
    passages: Sequence[Passage],
    candidates: Sequence[Sentence],
    cosines: NDArray[np.float32],
    length: int,
) -> list[Excerpt]:
    """Every run of `length` sentences, or of all there are where a passage has fewer; best first.

    `cosines` (n,) has one for each candidate. The score adds up: the mean of the best and the
    average cosine; the weighted part of the question's terms in the run and its headings; the
    passage's score as a part of the best one's.
    """
    weights = _term_weights(question, candidates)
    standing = _standing(passages)
    found: list[Excerpt] = []
    for first, last in _windows(candidates, length):
        window = candidates[first : last + 1]
        terms = frozenset().union(*(one.terms for one in window))
        under = analyse(" ".join({one.heading for one in window}))
        near = cosines[first : last + 1]
        score = float(near.max() + near.mean()) / 2 + COVERAGE * weighted_part(weights, terms.union(under))
        rank = window[0].rank
        score += STANDING * standing[rank]
        found.append(Excerpt(rank, window[0].start, window[-1].end, terms, score))
    return sorted(found, key=lambda one: (-one.score, one.rank, one.start))


def chosen(ranked: Sequence[Excerpt], count: int, drop: float) -> list[Excerpt]:
    """Up to `count` excerpts that say different things, in reading order: by passage, then by text.

    None is taken that scores more than `drop` below the best.
    """
    taken: list[Excerpt] = []
    for one in ranked:
        if len(taken) == count or one.score < ranked[0].score - drop:
            break
        if not any(_overlap(one, other) or _alike(one, other) for other in taken):
            taken.append(one)
    return sorted(taken, key=lambda one: (one.rank, one.start))


def without_list_mark(text: str, start: int, end: int) -> Span:
    """A list item that stands alone loses its bullet."""
    item = LIST_ITEM.match(text, start, end)
    return (item.end() if item and "\n" not in text[start:end] else start), end


def _term_weights(question: str, candidates: Sequence[Sentence]) -> dict[str, float]:
    """The question's terms that occur in the candidates, by rarity among them; names count double."""
    held = [one.terms for one in candidates]
    exact = set(names(question))
    weights = rarities(set(analyse(question)), held)
    present = frozenset().union(*held)
    return {t: (w - 1) * (NAME_WEIGHT if t in exact else 1) for t, w in weights.items() if t in present}


def _windows(candidates: Sequence[Sentence], length: int) -> Iterator[tuple[int, int]]:
    """(first, last) of each run of `length` neighbours, or of all there are where they are fewer."""
    for first, begin in enumerate(candidates):
        last = first
        while last + 1 < min(len(candidates), first + length) and candidates[last + 1].run == begin.run:
            last += 1
        begins_run = first == 0 or candidates[first - 1].run != begin.run
        if begins_run or last - first + 1 == length:
            yield first, last


def _standing(passages: Sequence[Passage]) -> list[float]:
    """Each passage's score as a part of the best one's; all alike where scores are not positive."""
    best = max(passage.score for passage in passages)
    return [max(0.0, passage.score / best) if best > 0 else 0.0 for passage in passages]


def _is_heading(words: str, passage: Passage) -> bool:
    """A question is the heading of what follows: it answers nothing itself."""
    if (
        words.endswith(("?", "？"))
        or HEADING.match(words)
        or words.strip(HEADING_MARKS) in (passage.title, *passage.heading_path)
    ):
        return True
    short = len(words) <= LONGEST_HEADING and "\n" not in words
    return short and not words.endswith(FULL_STOPS) and not LIST_ITEM.match(words)


def _overlap(one: Excerpt, other: Excerpt) -> bool:
    return one.rank == other.rank and one.start < other.end and other.start < one.end


def _alike(one: Excerpt, other: Excerpt) -> bool:
    return len(one.terms & other.terms) > DUPLICATE * len(one.terms | other.terms)
