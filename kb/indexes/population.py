"""How many vectors each collection has in a version, nearly: counted now and then, beside the searches."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg import sql

from kb.core import pools
from kb.indexes.models import IndexVersion
from retrieval.threads import DaemonThreads

logger = logging.getLogger(__name__)

FRESH_SECONDS = 20.0
REST = 100  # a count is followed by a rest of so many times its length: it takes a hundredth of a processor at most
FIRST_SECONDS = 0.2  # so long the first search waits for a count


@dataclass(frozen=True)
class Population:
    """Vectors by collection, as they were some seconds ago."""

    sizes: Mapping[int, int]

    @property
    def total(self) -> int:
        return sum(self.sizes.values())

    def within(self, collections: Iterable[int]) -> int:
        return sum(self.sizes.get(collection, 0) for collection in collections)


@dataclass
class Count:
    """What is known of one table, when to count again, and the count that runs."""

    known: Population | None = None
    due: float = 0.0
    running: "Future[None] | None" = None


_counts: dict[tuple[str, str], Count] = {}
_lock = threading.Lock()
_threads = DaemonThreads(1, "population")


def population(version: IndexVersion) -> Population | None:
    """The latest count, waited for only the first time; None where it cannot be had soon.

    A search that is planned on an old one may take longer than need be; it finds the same.
    """
    with _lock:
        count = _counts.setdefault((pools.database(), version.table), Count())
        if count.running is None and time.monotonic() >= count.due:
            count.running = _threads.submit(partial(renew, count, version.table))
        known, running = count.known, count.running
    if known is None and running is not None:
        wait([running], FIRST_SECONDS)
    return count.known


def renew(count: Count, table: str) -> None:
    began = time.monotonic()
    try:
        count.known = Population(counted(table))
    except psycopg.Error as error:  # a table that was dropped, a database that is busy: the plan does without
        logger.info("The vectors of %s could not be counted: %s", table, error)
    ended = time.monotonic()
    with _lock:
        count.running, count.due = None, ended + max(FRESH_SECONDS, REST * (ended - began))


def counted(table: str) -> dict[int, int]:
    statement = sql.SQL("SELECT collection_id, count(*) FROM {} GROUP BY collection_id")
    with pools.asking("aside") as connected:
        return dict(connected.execute(statement.format(sql.Identifier(table))).fetchall())


def forget() -> None:
    """What is counted next is counted anew."""
    with _lock:
        _counts.clear()
