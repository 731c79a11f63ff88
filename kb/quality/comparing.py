"""Two versions of an index on the same questions: the graph's recall, what is found, and how fast."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from kb.documents.models import Chunk
from kb.indexes import planning, providers
from kb.indexes.dense import PostgresDense
from kb.indexes.models import IndexVersion
from kb.indexes.planning import Graph, OneByOne
from kb.quality.question_sets import Judged
from kb.search.engine import retriever
from kb.search.narrowing import languages
from kb.search.profiles import default_profile
from retrieval.agreement import overlap
from retrieval.metrics import Metric, ndcg, recall
from retrieval.protocols import Ranked, Scope
from retrieval.ranking import Hits
from retrieval.tuning import interval
from retrieval.validation import Compared

CUT = 10
CLOSE = 1e-6  # equal distances in the arithmetic of either plan


@dataclass
class Found:
    """One version's rankings of documents (ids as text), by question, and the milliseconds of each search.

    `lost` searches were answered by one arm, since the other failed.

    `shown` is what two versions are compared by: chunks, or documents where they cut texts differently.
    """

    rankings: list[list[str]] = field(default_factory=list)
    shown: list[list[object]] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    lost: int = 0


def graph_recall(version: IndexVersion, texts: Sequence[str], scope: Scope, vectors: int) -> float | None:
    """The share of the ten nearest that walking the graph brings back, on average; None without questions.

    What is as near as the tenth counts as one of them: equal texts have equal vectors.
    """
    dense, embedder = PostgresDense(version), providers.embedder_for(version)
    shares = []
    for text in texts:
        vector = embedder.embed([text], "query")[0]
        exact = dense.found(OneByOne(most=True), vector, scope, CUT).top(CUT)
        if len(exact):
            walked = dense.found(walk(version, vectors), vector, scope, CUT).top(CUT)
            shares.append(share_found(exact, walked))
    return fmean(shares) if shares else None


def walk(version: IndexVersion, vectors: int) -> Graph:
    """As a search over the whole index is planned where it walks the graph, however few vectors there are."""
    planned = planning.plan(vectors, vectors, None, CUT, version.hnsw_ef_search)
    if isinstance(planned, Graph):
        return planned
    length = min(planning.least(CUT, version.hnsw_ef_search), planning.MOST_EF_SEARCH)
    return Graph(length, CUT + planning.TIES, max(vectors, 1))


def share_found(exact: Ranked, walked: Ranked) -> float:
    near = int((walked.scores >= exact.scores[-1] - CLOSE).sum())
    return min(near, len(exact)) / len(exact)


def run(versions: Sequence[IndexVersion], texts: Sequence[str], scope: Scope) -> list[Found]:
    """Each question through each version, in turns, so that what else the machine does hits them alike."""
    profile, spoken = default_profile(), languages(scope.collections)
    arms = [retriever(version, profile, providers.embedder_for(version)) for version in versions]
    by_document = len({version.chunking_id for version in versions}) > 1
    found = [Found() for _ in versions]
    for number, text in enumerate(texts):
        order = list(zip(arms, found, strict=True))
        for arm, into in order if number % 2 else reversed(order):
            if not number:
                arm.search(text, scope, languages=spoken)  # the weights are loaded before the clock runs
            began = time.perf_counter()
            hits = arm.search(text, scope, languages=spoken)
            into.took.append((time.perf_counter() - began) * 1000)
            note(into, hits, by_document)
    return found


def note(into: Found, hits: Hits, by_document: bool) -> None:
    into.lost += hits.degraded
    documents = documents_of(hits.fused)
    into.rankings.append(documents[:CUT])
    into.shown.append(list(documents[:CUT]) if by_document else hits.fused.ids[:CUT].tolist())


def documents_of(ranked: Ranked) -> list[str]:
    """The documents of ranked chunks, each once, by its best; a chunk that has gone meanwhile counts for nothing."""
    rows = dict(Chunk.objects.filter(pk__in=ranked.ids.tolist()).values_list("pk", "document_id"))
    return list(dict.fromkeys(str(rows[chunk]) for chunk in ranked.ids.tolist() if chunk in rows))


def compared(candidate: Found, live: Found, questions: Sequence[Judged]) -> Compared | None:
    """By the first of the rankings, which are those of the judged questions."""
    if not questions:
        return None
    ours, theirs = (
        {metric: values(found, questions, metric) for metric in (ndcg, recall)} for found in (candidate, live)
    )
    return Compared(
        len(questions),
        (float(ours[ndcg].mean()), float(theirs[ndcg].mean())),
        (float(ours[recall].mean()), float(theirs[recall].mean())),
        interval(ours[ndcg] - theirs[ndcg]),
        interval(ours[recall] - theirs[recall]),
    )


def values(found: Found, questions: Sequence[Judged], metric: Metric) -> NDArray[np.float64]:
    pairs = zip(questions, found.rankings, strict=False)
    return np.array([metric(ranking, question.grades, CUT) for question, ranking in pairs])


def mean_overlap(candidate: Found, live: Found) -> float | None:
    shares = [overlap(one, other) for one, other in zip(candidate.shown, live.shown, strict=True)]
    return fmean(shares) if shares else None
