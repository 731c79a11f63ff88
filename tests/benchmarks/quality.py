"""How well the chosen number format ranks, beside float32, on the vectors that the benchmark makes anyway."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.beir import Dataset
from retrieval.metrics import mean, ndcg

Vectors = NDArray[np.float32]
DEEP = 10


def judged_first(dataset: Dataset) -> list[str]:
    """All document ids, first those that are relevant to a query: a part of the corpus can be judged as well."""
    relevant = {name for grades in dataset.judgements.values() for name, grade in grades.items() if grade > 0}
    return sorted(dataset.corpus, key=lambda name: name not in relevant)


def judged_queries(dataset: Dataset, documents: Sequence[str]) -> dict[str, str]:
    """Those of which every relevant document is among `documents`."""
    there = set(documents)
    return {
        query: dataset.queries[query]
        for query, grades in dataset.judgements.items()
        if query in dataset.queries and {name for name, grade in grades.items() if grade > 0} <= there
    }


def ndcg_at_10(
    dataset: Dataset, owners: Sequence[str], passages: Vectors, queries: Mapping[str, str], asked: Vectors
) -> float:
    """Over the queries; a document stands where its best passage does. `owners` are the passages' documents."""
    similar = asked @ passages.T
    rankings = {}
    for query, row in zip(queries, similar, strict=True):
        best: dict[str, float] = defaultdict(lambda: -1.0)
        for owner, score in zip(owners, row.tolist(), strict=True):
            best[owner] = max(best[owner], score)
        rankings[query] = sorted(best, key=lambda name: -best[name])[:DEEP]
    return mean(ndcg, rankings, {query: dataset.judgements[query] for query in queries}, DEEP)
