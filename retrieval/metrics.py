"""How good a ranking is, against judgements; the numbers agree with trec_eval and ir-measures.

A ranking is document ids, best first, each once. Judgements are grades by document id: 0 is judged
and not relevant, a document without a grade counts as not relevant.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

Judgements = Mapping[str, int]


def ndcg(ranking: Sequence[str], judgements: Judgements, k: int) -> float:
    """DCG with the grade itself as gain, discounted by log2(rank + 1), over that of the best ranking.

    Järvelin & Kekäläinen (2002), as trec_eval computes it. 0 if nothing is relevant.
    """
    ideal = _dcg(sorted((grade for grade in judgements.values() if grade > 0), reverse=True)[:k])
    return _dcg([max(0, judgements.get(document, 0)) for document in ranking[:k]]) / ideal if ideal else 0.0


def recall(ranking: Sequence[str], judgements: Judgements, k: int) -> float:
    """The share of the relevant documents that stand among the first `k`. 0 if nothing is relevant."""
    relevant = _relevant(judgements)
    return len(relevant.intersection(ranking[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], judgements: Judgements, k: int) -> float:
    """1 / rank of the first relevant document among the first `k`, else 0."""
    relevant = _relevant(judgements)
    return next((1 / rank for rank, document in enumerate(ranking[:k], 1) if document in relevant), 0.0)


Metric = Callable[[Sequence[str], Judgements, int], float]


def mean(
    metric: Metric, rankings: Mapping[str, Sequence[str]], judgements: Mapping[str, Judgements], k: int
) -> float:
    """Over the queries that have a relevant document, of which a missing ranking counts 0; else NaN."""
    judged = {query: grades for query, grades in judgements.items() if _relevant(grades)}
    return (
        fmean(metric(rankings.get(q, ()), grades, k) for q, grades in judged.items()) if judged else math.nan
    )


def _relevant(judgements: Judgements) -> set[str]:
    return {document for document, grade in judgements.items() if grade > 0}


def _dcg(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
