"""How long a search may take, as a whole and by stage: the one place with the numbers, in seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import Error, connection

from kb.core import pools

CACHE_SECONDS = 0.1
EXTRA = 0.1  # the share of the whole that something may take which a search can do without


@dataclass(frozen=True)
class Limits:
    """`whole`: from the question to its passages. `embed`: the question's vector, `load`: the same while its model
    is being loaded. `cache`: one exchange with the cache. `rest`: what is kept for fusing and reading the passages
    when an arm of the search is given up."""

    whole: float
    embed: float
    load: float
    cache: float
    rest: float


def limits() -> Limits:
    """From the settings SEARCH_DEADLINE_MS and EMBED_DEADLINE_MS; the parts fit into the whole."""
    whole = settings.SEARCH_DEADLINE_MS / 1000
    embed = settings.EMBED_DEADLINE_MS / 1000
    load = 0.6 * whole
    return Limits(whole, min(embed, load), load, min(CACHE_SECONDS, whole), 0.2 * whole)


@contextmanager
def search() -> Iterator[None]:
    """All that is read inside, by this thread and by the arms, ends by the deadline of a whole search.

    The database cancels what would last longer: django.db.Error or psycopg.Error.
    """
    telling = Telling()
    with pools.within(limits().whole):
        try:
            with connection.execute_wrapper(telling):
                yield
        finally:
            if telling.told is not None:
                with suppress(Error), connection.cursor() as cursor:
                    cursor.execute("RESET statement_timeout")


@contextmanager
def arm() -> Iterator[None]:
    """What an arm reads ends early enough for the other one to answer alone."""
    with pools.within(max(pools.left() - limits().rest, 0)):
        yield


@contextmanager
def extra() -> Iterator[None]:
    """What a search can do without ends early enough for all that it cannot."""
    with pools.within(EXTRA * limits().whole):
        yield


def patience() -> float:
    """Seconds that the other arm may still be waited for; one that is done already is not too late."""
    try:
        return pools.left()
    except pools.OutOfTime:
        return 0.0


def spare() -> float:
    """Seconds that something may take now before what is kept for reading the passages; none where it has begun."""
    return max(0.0, patience() - limits().rest)


class Telling:
    """Tells Django's connection how long a statement may take: at first, and when that has changed."""

    def __init__(self) -> None:
        self.told: float | None = None

    def __call__(
        self,
        execute: Callable[..., Any],
        statement: Any,
        given: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        left = pools.left()
        if self.told is None or not pools.SLACK * self.told <= left <= self.told / pools.SLACK:
            self.told = left
            context["cursor"].cursor.execute(f"SET statement_timeout = {max(1, round(1000 * left))}")
        return execute(statement, given, many, context)
