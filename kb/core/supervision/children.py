"""What a child process is: a row of data that says how to start, watch and stop it."""

from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGKILL, SIGTERM, Signals


def always() -> bool:
    return True


def never() -> bool:
    return False


def nobody() -> None:
    return None


@dataclass(frozen=True)
class Child:
    """One process that `up` looks after.

    `command` is asked at each start; it may prepare files, and raises EmbeddedServiceError with a sentence
    for the person, or BlockingIOError when it should be tried again in a moment.
    A child is started when all that have a lower `start_order` are ready, and stopped by `stop_order`.
    """

    name: str
    command: Callable[[], list[str]]
    start_order: int
    stop_order: int
    stop_signal: Signals = SIGTERM
    stop_seconds: float = 10
    force_signal: Signals = SIGKILL  # when that was not enough, or the person is in a hurry
    ready: Callable[[], bool] = always  # asked often; returns within about a second
    required: bool = False  # nothing works without it
    once: bool = False  # ready when it ends well; never restarted; its standard output is for the person
    after: Callable[[int], None] | None = None  # told the exit status of a `once` child
    announce: tuple[str, ...] = ()  # said when it is ready for the first time
    says_last: bool = (
        False  # what a `once` child says waits for the next announcement, not to be scrolled away
    )
    wanted: Callable[[], bool] = always  # asked once, before the first start
    adopt: Callable[[], int | None] = nobody  # the process that does this work already, if one is left over
    in_use: Callable[[], bool] = never  # asked at the end: somebody else needs it, so it is left running
    users_file: str = ""  # who can lock it exclusively knows that nobody else needs the child
    replaced_with: str = ""  # replaced whenever the child of that name had to be restarted
    silent_after: float = 0  # seconds without a sign of life after which it is replaced; 0: not watched
    asked_by: str = ""  # the child that asks it for signs of life
