"""How the nearest vectors are best looked for, decided from what a filter leaves: along the graph, or one by one."""

import math
from dataclasses import dataclass
from typing import TypeAlias

# What an entry of the graph's candidate list costs, in vectors that are read and compared one by one
# (pgvector 0.8.5, 384 dimensions of halfvec, all in memory: about 15 and 1.5 µs).
CANDIDATE = 10
MOST_EF_SEARCH = 1000  # pgvector's own limit
MOST_VISITED = 20_000  # pgvector's default, where the sizes are not known
# The shortest list. Among 100,000 vectors in clusters, for questions far from all of them, lists of 100 and of
# 200 had 0.963 and 0.997 of the ten nearest; near them either had all.
SHORTEST = 200
DEPTH = 2  # so many times as long as the result the list is at least: its end is the less certain part
# Candidates by bits for each of those asked for. Of 20,000 vectors of 128 dimensions in clusters, 200 candidates
# held the ten nearest of all, but only 0.81 of them where the question's own cluster was not to be seen.
RESCORED, MOST_RESCORED = 40, 2000
TIES = 16  # rows beyond those asked for: which of equal ones are given is for their ids to say


@dataclass(frozen=True)
class OneByOne:
    """All that the filter leaves is compared: exact. `most`: that is more than half of the table."""

    most: bool = False


@dataclass(frozen=True)
class Graph:
    """The HNSW graph is walked with a candidate list of `ef_search`, until `rows` came or `visited` were seen."""

    ef_search: int
    rows: int
    visited: int


Plan: TypeAlias = OneByOne | Graph


def plan(total: int, within: int, among: int | None, k: int, ef_search: int) -> Plan:
    """For the `k` nearest among `total` vectors, of which `within` are in the collections that may be seen.

    `among` is how many chunks the question restricts itself to, None for all: those are picked from the
    rows that come, the collections inside the walk. Of the graph's candidates a share passes both, so the
    list is made so much longer that as many pass as an unfiltered search looks at. (Fewer would do for
    filters at random; but what people may see goes by topics, as vectors do.) Where that costs more than
    to compare all that pass, all are compared. Shares may deceive: the walk ends once it has seen as many
    vectors as pass.
    """
    passing = within if among is None else min(among, within)
    wanted = least(k, ef_search)
    candidates = math.ceil(wanted * total / max(passing, 1))
    if CANDIDATE * candidates >= passing:
        return OneByOne(most=2 * passing > total)
    # A list that may not be as long as it should is walked on from until as many rows came.
    rows = k + TIES if candidates <= MOST_EF_SEARCH else wanted
    if among is not None:
        rows = math.ceil(rows * within / passing)
    return Graph(min(candidates, MOST_EF_SEARCH), rows, passing)


def blind(among: int | None, k: int, ef_search: int) -> Plan:
    """The same where no sizes are known: the walk goes on until as many rows pass as an unfiltered search looks at."""
    if among is not None:
        return OneByOne()
    return Graph(min(least(k, ef_search), MOST_EF_SEARCH), least(k, ef_search), MOST_VISITED)


def least(k: int, ef_search: int) -> int:
    """The length of the list where nothing is filtered; `ef_search` is what the index version wants at least."""
    return max(ef_search, DEPTH * k + TIES, SHORTEST)


def rescored(graph: Graph, k: int) -> int:
    """How many candidates a search by bits brings, to be rescored: bits tell them apart but roughly."""
    return min(max(graph.rows, graph.ef_search, RESCORED * k), MOST_RESCORED)
