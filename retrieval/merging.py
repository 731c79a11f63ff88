"""One ranking of what several indexes brought back, each with scores of a space of its own.

Cosines of different models cannot be compared: what is near in one space is far in another. Each is told in
standard deviations above the cosines that the same question has to chunks drawn at random, which are nearly
all about something else. Scores with zero mean and unit variance: Montague & Aslam (2001), "Relevance Score
Normalization for Metasearch", CIKM; against a sample that stands for noise instead of the results themselves:
Arampatzis & Kamps (2009), "A Signal-to-Noise Approach to Score Normalization", CIKM.

BM25 needs no such thing: its statistics are added up, so that it is the BM25 of all the indexes as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval import bm25
from retrieval.fusion import Fusion
from retrieval.protocols import NOTHING, Postings, Ranked, TermPostings
from retrieval.ranking import Hits

LEAST_SAMPLE = 8  # of fewer cosines no deviation is told
NO_DEVIATION = 1e-6


@dataclass(frozen=True, eq=False)
class Space:
    """What one index brought back; `noise` are the question's cosines to chunks drawn at random, None if not known."""

    hits: Hits
    noise: NDArray[np.float64] | None = None


def merged(spaces: Sequence[Space]) -> Hits:
    """The hits of one index as they are; of several, fused anew on comparable scores.

    Then `dense` has deviations instead of cosines, those below the noise's mean as 0. No chunk is in two of
    the indexes.
    """
    if len(spaces) == 1:
        return spaces[0].hits
    hits = [space.hits for space in spaces]
    dense = together([standardised(space) for space in spaces])
    terms, postings = shared_postings(hits)
    lexical = by_words(hits, terms, postings)
    fusion = replace(hits[0].fusion, dense_floor=0.0) if hits else Fusion()
    listed = not (len(dense) or len(lexical))  # a question without words: the order of each is all there is
    return Hits(
        together([each.fused for each in hits]) if listed else fusion.fuse(dense, lexical),
        dense,
        lexical,
        tuple(dict.fromkeys(stage for each in hits for stage in each.missing)),
        {},
        fusion,
        terms,
        postings,
    )


def standardised(space: Space) -> Ranked:
    """Its dense candidates in deviations above the noise, or above themselves where no noise is known."""
    dense = space.hits.dense
    if not len(dense):
        return NOTHING
    known = space.noise if space.noise is not None and len(space.noise) >= LEAST_SAMPLE else dense.scores
    deviation = max(float(known.std()), NO_DEVIATION)
    return Ranked(dense.ids, np.maximum((dense.scores - known.mean()) / deviation, 0.0))


def by_words(hits: Sequence[Hits], terms: tuple[str, ...], postings: Postings | None) -> Ranked:
    """What the indexes found by words, ranked with the statistics of all. Only what they found, as each knows
    what of its chunks the question allows."""
    candidates = together([each.lexical for each in hits])
    if postings is None or not len(candidates):
        return candidates
    return bm25.rank(postings, terms, len(candidates), np.sort(candidates.ids))


def shared_postings(hits: Sequence[Hits]) -> tuple[tuple[str, ...], Postings | None]:
    """The postings of all as those of one index; None where not all were asked for the same terms, as in
    collections of other languages."""
    read = [(each.terms, each.postings) for each in hits if each.postings is not None]
    if not read or any(terms != read[0][0] for terms, _ in read):
        return read[0][0] if read else (), None
    every = [postings for _, postings in read]
    names = dict.fromkeys(entry.term for postings in every for entry in postings.terms)
    return read[0][0], Postings(
        sum(postings.count for postings in every),
        sum(postings.total_length for postings in every),
        tuple(
            appended(name, [entry for each in every for entry in each.terms if entry.term == name])
            for name in names
        ),
        np.unique(np.concatenate([postings.deleted for postings in every])),
    )


def appended(name: str, entries: Sequence[TermPostings]) -> TermPostings:
    return TermPostings(
        name,
        np.concatenate([entry.ids for entry in entries]),
        np.concatenate([entry.frequencies for entry in entries]),
        np.concatenate([entry.lengths for entry in entries]),
    )


def together(arms: Sequence[Ranked]) -> Ranked:
    """All of them by their scores, equal ones by id."""
    if not arms:
        return NOTHING
    ids = np.concatenate([arm.ids for arm in arms])
    scores = np.concatenate([arm.scores for arm in arms])
    order = np.lexsort((ids, -scores))
    return Ranked(ids[order], scores[order])
