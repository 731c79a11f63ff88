"""Rankings of documents by each arm, and what they are worth against judgements."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rank_bm25 import BM25Okapi

from retrieval import bm25, metrics
from retrieval.analysis import variants
from retrieval.fusion import best_per_document
from retrieval.protocols import Ranked, Scope
from retrieval.ranking import Retriever
from retrieval.variants import merged, terms_of

DEPTH = 1000
CUT = 100
ARMS = ("dense", "lexical", "hybrid", "independent_bm25", "rank_bm25")
"""`independent_bm25` is the formula of the lexical arm, `rank_bm25` the package as it is; both on the same terms."""


@dataclass
class Arm:
    """One arm's document rankings by query, and the milliseconds that each query took."""

    rankings: dict[str, list[str]] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Corpus:
    """The chunks in the database: `documents` maps each to a number, `names` that number to the BEIR id.

    `terms` are what each was analysed to, in its own language.
    """

    documents: Mapping[int, int]
    names: Sequence[str]
    terms: Mapping[int, Sequence[str]]

    def ranking(self, ranked: Ranked) -> list[str]:
        """The documents of a per-document ranking, best first."""
        return [self.names[number] for number in ranked.ids[:CUT].tolist()]


class Independent(BM25Okapi):  # type: ignore[misc]  # rank_bm25 carries no types
    """The package with the idf of retrieval.bm25, which is never negative."""

    def _calc_idf(self, nd: dict[str, int]) -> None:
        for term, df in nd.items():
            self.idf[term] = math.log(1 + (self.corpus_size - df + 0.5) / (df + 0.5))


class Baseline:
    """A ranking by rank_bm25. A question's words count with their terms in each of `languages`."""

    def __init__(self, model: BM25Okapi, chunks: Iterable[int], languages: Sequence[str]) -> None:
        self.model, self.ids, self.languages = model, np.array(list(chunks), np.int64), languages

    def search(self, query: str) -> Ranked:
        terms = [term for word in variants(query, self.languages) for term in word]
        scores = np.asarray(self.model.get_scores(terms), np.float64)
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
    terms = list(corpus.terms.values())
    independent = Baseline(Independent(terms, k1=bm25.K1, b=bm25.B), corpus.terms, languages)
    package = Baseline(BM25Okapi(terms), corpus.terms, languages)
    for query_id, text in queries.items():
        dense = timed(arms["dense"], partial(by_meaning, retriever, text, scope))
        lexical = timed(arms["lexical"], partial(by_words, retriever, text, scope, languages))
        plain = timed(arms["independent_bm25"], partial(independent.search, text))
        okapi = timed(arms["rank_bm25"], partial(package.search, text))
        timed(arms["hybrid"], partial(hybrid, retriever, text, scope, languages))
        found = {"dense": dense, "lexical": lexical, "independent_bm25": plain, "rank_bm25": okapi}
        documents = {name: best_per_document(ranked, corpus.documents) for name, ranked in found.items()}
        documents["hybrid"] = retriever.fusion.fuse(documents["dense"], documents["lexical"])
        for name, ranked in documents.items():
            arms[name].rankings[query_id] = corpus.ranking(ranked)
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
