"""The nearest vectors of one index version, behind retrieval's `Dense` protocol."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from kb.core import pools
from kb.indexes import planning
from kb.indexes.embedding_table import typed
from kb.indexes.models import IndexVersion
from kb.indexes.planning import Graph, OneByOne, Plan
from kb.indexes.population import population
from retrieval.protocols import NOTHING, Ranked, Scope

# The fence (OFFSET 0) keeps the planner from walking the graph all the same.
ONE_BY_ONE = (
    "SELECT chunk_id, 1 - distance FROM (SELECT chunk_id, vector <=> %(vector)s::real[]::{type} AS distance "
    "FROM {table} WHERE collection_id = ANY(%(collections)s) {among} OFFSET 0) compared "
    "ORDER BY distance, chunk_id LIMIT {rows}"
)
GRAPH = (
    "SELECT chunk_id, 1 - (vector <=> %(vector)s::real[]::{type}) FROM {table} "
    "WHERE collection_id = ANY(%(collections)s) ORDER BY vector <=> %(vector)s::real[]::{type} LIMIT {rows}"
)
# By bits, of which each candidate has one of each number; what comes is rescored with the numbers themselves.
BITS = (
    "SELECT chunk_id, 1 - (vector <=> %(vector)s::real[]::{type}) FROM {table} "
    "WHERE collection_id = ANY(%(collections)s) ORDER BY binary_quantize(vector)::bit({dimensions}) "
    "<~> binary_quantize(%(vector)s::real[]::{type})::bit({dimensions}) LIMIT {rows}"
)
AMONG = "AND chunk_id = ANY(%(chunks)s)"


@dataclass(frozen=True)
class PostgresDense:
    """Walks the version's HNSW index or compares one by one, whichever costs less, the permission inside.

    As many come as were asked for, if there are so many: where the walk found fewer, all are compared.
    """

    version: IndexVersion

    def nearest(self, vector: NDArray[np.float32], scope: Scope, k: int) -> Ranked:
        if k <= 0 or not scope.collections or (scope.chunks is not None and not len(scope.chunks)):
            return NOTHING
        plan = self.plan(scope, k)
        found = self.found(plan, vector, scope, k)
        if isinstance(plan, Graph) and len(found) < k:
            found = self.found(OneByOne(), vector, scope, k)
        return found.top(k)

    def plan(self, scope: Scope, k: int) -> Plan:
        known, ef_search = population(self.version), self.version.hnsw_ef_search
        among = None if scope.chunks is None else len(scope.chunks)
        if known is None:
            return planning.blind(among, k, ef_search)
        return planning.plan(known.total, known.within(scope.collections), among, k, ef_search)

    def found(self, plan: Plan, vector: NDArray[np.float32], scope: Scope, k: int) -> Ranked:
        with pools.asking("vectors", **settings(plan)) as connected:
            found = connected.execute(self.statement(plan, scope, k), given(plan, vector, scope), binary=True)
            ranked = best_first(found.fetchall())
        if isinstance(plan, Graph) and scope.chunks is not None:
            kept = among(ranked.ids, scope.chunks)
            return Ranked(ranked.ids[kept], ranked.scores[kept])
        return ranked

    def statement(self, plan: Plan, scope: Scope, k: int) -> sql.Composed:
        bits = self.version.storage == IndexVersion.Storage.BIT
        template, rows = ONE_BY_ONE, k
        if isinstance(plan, Graph):
            template, rows = (BITS, planning.rescored(plan, k)) if bits else (GRAPH, plan.rows)
        return sql.SQL(template).format(
            type=typed(self.version),
            table=sql.Identifier(self.version.table),
            among=sql.SQL("" if scope.chunks is None else AMONG),
            dimensions=sql.Literal(self.version.dimensions),
            rows=sql.Literal(rows),
        )


def among(ids: NDArray[np.int64], chunks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the few `ids` are in the many `chunks`, which are sorted, and at least one."""
    places = np.minimum(np.searchsorted(chunks, ids), len(chunks) - 1)
    return np.asarray(chunks[places] == ids)


def settings(plan: Plan) -> dict[str, object]:
    """What makes PostgreSQL's planner do as planned, whatever its statistics are, or before it has any."""
    if isinstance(plan, OneByOne):
        return {"enable_seqscan": "on" if plan.most else "off"}
    return {
        "enable_seqscan": "off",
        "enable_sort": "off",
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.ef_search": plan.ef_search,
        "hnsw.max_scan_tuples": plan.visited,
    }


def given(plan: Plan, vector: NDArray[np.float32], scope: Scope) -> dict[str, Any]:
    """The statement's parameters."""
    parameters = {"vector": vector, "collections": np.array(scope.collections, np.int64)}
    if isinstance(plan, OneByOne) and scope.chunks is not None:
        parameters["chunks"] = scope.chunks.astype(np.int32)
    return parameters


def best_first(rows: list[tuple[int, float]]) -> Ranked:
    """Equal scores by id: a relaxed walk gives rows nearly, not quite, in order."""
    if not rows:
        return NOTHING
    ids = np.array([row[0] for row in rows], np.int64)
    scores = np.array([row[1] for row in rows], np.float64)
    order = np.lexsort((ids, -scores))
    return Ranked(ids[order], scores[order])
