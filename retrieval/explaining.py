"""Why a hit stands where it stands: ranks, scores, what each term and each arm gives."""

from collections.abc import Iterable, Mapping

import numpy as np

from retrieval import bm25
from retrieval.evidence import ArmShare, Explanation, TermShare
from retrieval.fusion import Fusion
from retrieval.protocols import Ranked
from retrieval.ranking import Hits


def explanations(hits: Hits, chunks: Iterable[int]) -> dict[int, Explanation]:
    """For each of `chunks` that the search found, from what it read itself: of nothing beyond its scope."""
    fused = dict(zip(hits.fused.ids.tolist(), hits.fused.scores.tolist(), strict=True))
    wanted = sorted(fused.keys() & set(chunks))
    dense, lexical = arm_shares(hits.fusion, hits.dense, hits.lexical)
    terms = term_shares(hits, wanted)
    return {
        chunk: Explanation(
            strategy=hits.fusion.strategy,
            dense=dense.get(chunk),
            lexical=lexical.get(chunk),
            terms=terms.get(chunk, ()),
            fused=fused[chunk],
            sentence=sentence(hits, dense.get(chunk), lexical.get(chunk)),
        )
        for chunk in wanted
    }


def arm_shares(
    fusion: Fusion, dense: Ranked, lexical: Ranked
) -> tuple[Mapping[int, ArmShare], Mapping[int, ArmShare]]:
    """By chunk, for each arm; in sum they are the fused score."""
    by_meaning, by_words = (
        {
            chunk: ArmShare(rank, score, part, weight, weight * part)
            for rank, (chunk, score, part) in enumerate(
                zip(arm.ids.tolist(), arm.scores.tolist(), normalised.scores.tolist(), strict=True), 1
            )
        }
        for arm, normalised, weight in zip(
            (dense, lexical), fusion.normalised(dense, lexical), fusion.weights, strict=True
        )
    )
    return by_meaning, by_words


def term_shares(hits: Hits, chunks: Iterable[int]) -> dict[int, tuple[TermShare, ...]]:
    """By chunk: the terms that it holds, the one that gives most first. BM25 is a sum over the terms."""
    found: dict[int, list[TermShare]] = {}
    if hits.postings is None:
        return {}
    among = np.array(sorted(chunks), np.int64)
    for term in dict.fromkeys(hits.terms):
        repeated = [term] * hits.terms.count(term)
        alone = bm25.rank(hits.postings, repeated, len(among), among)
        for chunk, score in zip(alone.ids.tolist(), alone.scores.tolist(), strict=True):
            found.setdefault(chunk, []).append(TermShare(term, score))
    return {
        chunk: tuple(sorted(shares, key=lambda share: (-share.score, share.term)))
        for chunk, shares in found.items()
    }


def sentence(hits: Hits, dense: ArmShare | None, lexical: ArmShare | None) -> str:
    """The same in words."""
    if not (hits.terms or hits.missing or len(hits.dense)):
        return "It is what the question's filters leave; the newest documents come first."
    places = [
        f"No. {dense.rank} by meaning"
        if dense
        else absent(hits.dense, "by meaning", bool({"embed", "dense"}.intersection(hits.missing))),
        f"no. {lexical.rank} by words"
        if lexical
        else absent(hits.lexical, "by words", not hits.terms or "lexical" in hits.missing),
    ]
    place = " and ".join(filter(None, places))
    place = place[:1].upper() + place[1:]
    if hits.fusion.strategy == "reciprocal_rank":
        return f"{place}. Only the ranks count (reciprocal rank fusion), those of both arms alike."
    by_meaning, by_words = hits.fusion.weights
    learned = ", as learned from judged questions" if hits.fusion.strategy == "learned" else ""
    return (
        f"{place}. Each arm's score is divided by its best one; "
        f"meaning counts {by_meaning:.0%}, words {by_words:.0%}{learned}."
    )


def absent(arm: Ranked, name: str, unasked: bool) -> str:
    if unasked:
        return f"not looked for {name}"
    return f"not among the {len(arm):,} best {name}" if len(arm) else f"nothing was found {name}"
