"""When a dead child is started again, when a silent one is replaced, when the demo is loaded: rules only."""

from dataclasses import dataclass

FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
SETTLED_SECONDS = 60.0  # who lived this long failed for a new reason
SILENT_AT_START = 300.0  # a model may have to be read from a slow disk first
SEEN_LATELY = 60.0
TRIES_AT_START = 3


@dataclass(frozen=True)
class Restart:
    """`deaths` in a row so far, this one included, and the seconds to wait before the next try."""

    deaths: int
    delay: float


def restart(lived: float, deaths_before: int) -> Restart:
    """What follows the death of a child that lived so many seconds after so many early deaths."""
    deaths = 1 if lived >= SETTLED_SECONDS else deaths_before + 1
    return Restart(deaths, min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(deaths - 1, 10)))


def hopeless(required: bool, was_ready: bool, deaths: int) -> bool:
    """Whether to give up: without this child nothing works, and it never did."""
    return required and not was_ready and deaths >= TRIES_AT_START


@dataclass(frozen=True)
class Worker:
    """A worker's signs of life at one moment; all times are seconds of the same clock.

    `asker_seen` is the last sign of the process that passes on the requests for signs, where that one
    gives signs itself: while it is silent, the silence of those it asks says nothing.
    """

    started: float
    seen: float | None
    limit: float
    asked_since: float
    asker_gives_signs: bool = False
    asker_seen: float | None = None


def silent(worker: Worker, now: float) -> bool:
    """Whether the worker lives but does no work, and must be replaced."""
    if worker.asker_gives_signs and (worker.asker_seen is None or now - worker.asker_seen > SEEN_LATELY):
        return False
    if worker.seen is None or worker.seen < worker.started:
        return now - max(worker.started, worker.asked_since) > max(worker.limit, SILENT_AT_START)
    return now - max(worker.seen, worker.asked_since) > worker.limit


def demo_wanted(marker: str, asked_for: bool, empty: bool) -> bool:
    """Whether to load the demo corpus: at the first start of an empty site, or where that was cut short."""
    if not asked_for:
        return False
    return marker == "loading" or (marker == "" and empty)
