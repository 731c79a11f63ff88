"""Rankings of documents by each arm, and what they are worth against judgements."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rank_bm25 import BM25Okapi

from retrieval import bm25, metrics
from retrieval.analysis import analyse, variants
from retrieval.fusion import best_per_document
from retrieval.protocols import Ranked, Scope
from retrieval.ranking import Retriever
from retrieval.variants import merged, terms_of

DEPTH = 1000
CUT = 100
ARMS = ("dense", "lexical", "hybrid", "rank_bm25")


@dataclass
class Arm:
    """One arm's document rankings by query, and the milliseconds that each query took."""

    rankings: dict[str, list[str]] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Corpus:
    """The chunks in the database: `documents` maps each to a number, `names` that number to the BEIR id."""

    documents: Mapping[int, int]
    names: Sequence[str]
    rendered: Mapping[int, str]

    def ranking(self, ranked: Ranked) -> list[str]:
        """The documents of a per-document ranking, best first."""
        return [self.names[number] for number in ranked.ids[:CUT].tolist()]


class Baseline:
    """The rank_bm25 package as it is, on the same terms."""

    def __init__(self, rendered: Mapping[int, str]) -> None:
        self.ids = np.array(list(rendered), np.int64)
        self.model = BM25Okapi([analyse(text) for text in rendered.values()])

    def search(self, query: str) -> Ranked:
        scores = np.asarray(self.model.get_scores(analyse(query)), np.float64)
        order = np.lexsort((self.ids, -scores))[:DEPTH]
        return Ranked(self.ids[order], scores[order])


def score(
    corpus: Corpus,
    queries: Mapping[str, str],
    retriever: Retriever,
    scope: Scope,
    done: Callable[[], None],
    *,
    languages: Sequence[str],
) -> dict[str, Arm]:
    """Each query through each arm; an arm's best chunk stands for its document, then the arms are fused."""
    arms = {name: Arm() for name in ARMS}
    baseline = Baseline(corpus.rendered)
    for query_id, text in queries.items():
        dense = timed(arms["dense"], partial(by_meaning, retriever, text, scope))
        lexical = timed(arms["lexical"], partial(by_words, retriever, text, scope, languages))
        okapi = timed(arms["rank_bm25"], partial(baseline.search, text))
        timed(arms["hybrid"], partial(hybrid, retriever, text, scope, languages))
        per_document = [best_per_document(ranked, corpus.documents) for ranked in (dense, lexical, okapi)]
        arms["dense"].rankings[query_id] = corpus.ranking(per_document[0])
        arms["lexical"].rankings[query_id] = corpus.ranking(per_document[1])
        arms["rank_bm25"].rankings[query_id] = corpus.ranking(per_document[2])
        fused = retriever.fusion.fuse(per_document[0], per_document[1])
        arms["hybrid"].rankings[query_id] = corpus.ranking(fused)
        done()
    return arms


def timed(arm: Arm, work: Callable[[], Ranked]) -> Ranked:
    began = time.perf_counter()
    ranked = work()
    arm.took.append((time.perf_counter() - began) * 1000)
    return ranked


def hybrid(retriever: Retriever, text: str, scope: Scope, languages: Sequence[str]) -> Ranked:
    return retriever.search(text, scope, CUT, languages).fused


def by_meaning(retriever: Retriever, text: str, scope: Scope) -> Ranked:
    return retriever.dense.nearest(retriever.embedder.embed([text], "query")[0], scope, DEPTH)


def by_words(retriever: Retriever, text: str, scope: Scope, languages: Sequence[str]) -> Ranked:
    words = variants(text, languages)
    postings, names = merged(retriever.lexical.postings(terms_of(words), scope), words)
    return bm25.rank(postings, names, DEPTH)


def figures(arm: Arm, judgements: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """The arm's means over the judged queries, and its latency in milliseconds."""
    judged = {query: grades for query, grades in judgements.items() if query in arm.rankings}
    values = {
        "ndcg@10": metrics.mean(metrics.ndcg, arm.rankings, judged, 10),
        "recall@5": metrics.mean(metrics.recall, arm.rankings, judged, 5),
        "recall@10": metrics.mean(metrics.recall, arm.rankings, judged, 10),
        "recall@100": metrics.mean(metrics.recall, arm.rankings, judged, 100),
        "mrr@10": metrics.mean(metrics.reciprocal_rank, arm.rankings, judged, 10),
    }
    p50, p95 = np.percentile(arm.took, [50, 95])
    return {name: round(value, 4) for name, value in values.items()} | {
        "p50_ms": round(float(p50), 2),
        "p95_ms": round(float(p95), 2),
    }
