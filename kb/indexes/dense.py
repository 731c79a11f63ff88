"""The nearest vectors of one index version, behind retrieval's `Dense` protocol."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pgvector import Vector
from psycopg import sql

from kb.indexes import pools
from kb.indexes.embedding_table import typed
from kb.indexes.models import IndexVersion
from retrieval.protocols import NOTHING, Ranked, Scope

MOST_EF_SEARCH = 1000


@dataclass(frozen=True)
class PostgresDense:
    """Searches the version's HNSW index, the collections' filter inside.

    With the iterative scan a filtered search goes on until it has as many rows as were asked for, or
    has walked past as many vectors as pgvector's `hnsw.max_scan_tuples` allows (20,000 by default).
    """

    version: IndexVersion

    def nearest(self, vector: NDArray[np.float32], scope: Scope, k: int) -> Ranked:
        if k <= 0 or not scope.collections:
            return NOTHING
        literal = Vector(vector).to_text()
        ef_search = min(max(self.version.hnsw_ef_search, k), MOST_EF_SEARCH)
        with pools.transaction() as connected:
            connected.execute(sql.SQL("SET LOCAL hnsw.iterative_scan = relaxed_order"))
            connected.execute(sql.SQL("SET LOCAL hnsw.ef_search = {}").format(sql.Literal(ef_search)))
            given = {"vector": literal, "collections": list(scope.collections), "k": k}
            if scope.chunks is not None:
                given["chunks"] = scope.chunks.tolist()
            rows = connected.execute(self.statement(scope), given).fetchall()
        return ranked(rows)

    def statement(self, scope: Scope) -> sql.Composed:
        among = sql.SQL("AND chunk_id = ANY(%(chunks)s)" if scope.chunks is not None else "")
        return sql.SQL(
            "SELECT chunk_id, 1 - (vector <=> %(vector)s::{type}) FROM {table} "
            "WHERE collection_id = ANY(%(collections)s) {among} ORDER BY vector <=> %(vector)s::{type} LIMIT %(k)s"
        ).format(type=typed(self.version), table=sql.Identifier(self.version.table), among=among)


def ranked(rows: list[tuple[int, float]]) -> Ranked:
    """Best first, equal scores by id: a relaxed scan returns rows nearly, not quite, in order."""
    if not rows:
        return NOTHING
    ids = np.array([row[0] for row in rows], np.int64)
    scores = np.array([row[1] for row in rows], np.float64)
    order = np.lexsort((ids, -scores))
    return Ranked(ids[order], scores[order])
