"""What several indexes brought back becomes one ranking, on scores that can be compared."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from kb.core import pools
from kb.indexes.embedding_table import typed
from kb.indexes.models import IndexVersion
from kb.indexes.population import population
from kb.search import deadlines
from retrieval.merging import Space, merged
from retrieval.ranking import Hit, Hits

logger = logging.getLogger(__name__)

SAMPLE = (
    1000  # cosines to noise, about: neighbours on a page are of one document, so that they count for fewer
)
# Whole pages, always the same ones while the table does not change: the same question has the same ranking.
NOISE = (
    "SELECT 1 - (vector <=> %(vector)s::real[]::{type}) FROM {table} "
    "TABLESAMPLE SYSTEM ({percent}) REPEATABLE (1) WHERE collection_id = ANY(%(collections)s) LIMIT {most}"
)


@dataclass(frozen=True, eq=False)
class Searched:
    """What one index version brought back from `collections`; `vector` is the question in its space, if it has one."""

    version: IndexVersion
    collections: tuple[int, ...]
    hits: Hits
    notes: tuple[str, ...]
    vector: NDArray[np.float32] | None = None


def joined(searched: Sequence[Searched]) -> Hits:
    """The hits of all index versions as those of one."""
    if not searched:
        return merged([])
    several = len(searched) > 1
    return merged([Space(each.hits, noise(each) if several else None) for each in searched])


def with_cosines(hits: Hits, searched: Sequence[Searched]) -> list[Hit]:
    """The hits, best first, with the dense scores that their own index gave them."""
    if len(searched) <= 1:
        return list(hits)
    cosines: dict[int, float] = {}
    for each in searched:
        cosines |= dict(zip(each.hits.dense.ids.tolist(), each.hits.dense.scores.tolist(), strict=True))
    return [hit._replace(dense_score=cosines.get(hit.chunk_id)) for hit in hits]


def noise(searched: Searched) -> NDArray[np.float64] | None:
    """The question's cosines to chunks drawn from the collections searched; None where they cannot be had soon.

    Nothing beyond what the reader may see is looked at, and nothing is kept: a score tells of nothing else.
    """
    known = population(searched.version)
    if searched.vector is None or known is None or not known.within(searched.collections):
        return None
    statement = sql.SQL(NOISE).format(
        type=typed(searched.version),
        table=sql.Identifier(searched.version.table),
        percent=sql.Literal(percent(known.within(searched.collections))),
        most=sql.Literal(4 * SAMPLE),
    )
    given = {"vector": searched.vector, "collections": np.array(searched.collections, np.int64)}
    try:
        with deadlines.extra(), pools.asking("aside") as connected:
            return np.array(connected.execute(statement, given).fetchall(), np.float64).reshape(-1)
    except psycopg.Error:
        logger.exception("A search compares its indexes without knowing their noise")
        return None


def percent(rows: int) -> float:
    """Of the pages to be read, for about SAMPLE of so many rows. In steps of two, since the number of rows is known
    but nearly and differs from process to process."""
    return float(min(100.0, 100 * 2.0 ** -math.floor(math.log2(max(rows / SAMPLE, 1)))))
