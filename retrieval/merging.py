"""One ranking of what several indexes brought back, each with scores of a space of its own.

Cosines of different models cannot be compared: what is near in one space is far in another. But in each the
same question has cosines to chunks drawn at random, which are nearly all about something else. By their mean and
deviation all spaces are brought to one scale, that of the mean space among them, so that they weigh as much
against words as the cosines of a single index do. Scores with one mean and variance: Montague & Aslam
(2001), "Relevance Score Normalization for Metasearch", CIKM; of a sample that stands for noise instead of the
results themselves: Arampatzis & Kamps (2009), "A Signal-to-Noise Approach to Score Normalization", CIKM.

BM25 needs no such thing: its statistics are added up, so that it is the BM25 of all the indexes as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from retrieval import bm25
from retrieval.fusion import COSINE_FLOOR, Fusion
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

    Then `dense` has the cosines on one scale. No chunk is in two of the indexes.
    """
    if len(spaces) == 1:
        return spaces[0].hits
    hits = [space.hits for space in spaces]
    dense = together(on_one_scale(spaces))
    terms, postings = shared_postings(hits)
    lexical = by_words(hits, terms, postings)
    fusion = hits[0].fusion if hits else Fusion()
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


def on_one_scale(spaces: Sequence[Space]) -> list[Ranked]:
    """The dense candidates of each, by the noise of each; where one's noise is not known, by the candidates
    themselves, all of them."""
    found = [space for space in spaces if len(space.hits.dense)]
    known = all(space.noise is not None and len(space.noise) >= LEAST_SAMPLE for space in found)
    samples = [
        space.noise if known and space.noise is not None else space.hits.dense.scores for space in found
    ]
    means = [float(sample.mean()) for sample in samples]
    deviations = [max(float(sample.std()), NO_DEVIATION) for sample in samples]
    return [
        scaled(space.hits.dense, (mean, deviation), (fmean(means), fmean(deviations)))
        for space, mean, deviation in zip(found, means, deviations, strict=True)
    ]


def scaled(dense: Ranked, own: tuple[float, float], common: tuple[float, float]) -> Ranked:
    """From one mean and deviation to another; what is far above its noise may come to more than 1."""
    deviations = (dense.scores - own[0]) / own[1]
    return Ranked(dense.ids, np.maximum(common[0] + common[1] * deviations, COSINE_FLOOR))


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
