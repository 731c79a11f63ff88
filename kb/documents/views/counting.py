"""How many documents are in which state, and what that leaves to be done to them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, QuerySet

from kb.documents.models import Document

State = Document.State
PAUSED = "paused"
WORDS = {
    State.READY: "ready",
    State.EMBEDDING: "being indexed",
    State.PARSING: "being read",
    State.QUEUED: "waiting",
    PAUSED: "paused",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
}


@dataclass(frozen=True)
class Tally:
    """How many documents are in each state; those in work that were told to wait are `paused` instead."""

    states: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def ready(self) -> int:
        return self.states.get(State.READY, 0)

    @property
    def failed(self) -> int:
        return self.states.get(State.FAILED, 0)

    @property
    def cancelled(self) -> int:
        return self.states.get(State.CANCELLED, 0)

    @property
    def paused(self) -> int:
        return self.states.get(PAUSED, 0)

    @property
    def moving(self) -> int:
        """In work, and not paused."""
        return sum(self.states.get(state, 0) for state in Document.WORK)

    @property
    def work(self) -> int:
        return self.moving + self.paused

    @property
    def finished(self) -> int:
        return self.total - self.work

    @property
    def shown(self) -> list[tuple[str, str, int]]:
        """State, word and number, of each state that a document is in, the finished ones first."""
        return [
            (str(state), word, self.states[state]) for state, word in WORDS.items() if self.states.get(state)
        ]


def tally(documents: QuerySet[Document]) -> Tally:
    return summed(documents.order_by().values_list("state", "paused").annotate(Count("pk")))


def tallies(documents: QuerySet[Document], by: str) -> dict[Any, Tally]:
    """One tally for each value of the field `by`, in one query; what is not in it has no documents."""
    groups: dict[Any, list[tuple[str, bool, int]]] = defaultdict(list)
    for key, state, held, count in (
        documents.order_by().values_list(by, "state", "paused").annotate(Count("pk"))
    ):
        groups[key].append((state, held, count))
    return {key: summed(rows) for key, rows in groups.items()}


def summed(rows: Iterable[tuple[str, bool, int]]) -> Tally:
    """The tally of rows of state, whether paused, and count."""
    states: Counter[str] = Counter()
    for state, held, count in rows:
        states[PAUSED if held and state in Document.WORK else state] += count
    return Tally(states)


def offered(count: Tally, held: bool = False) -> list[str]:
    """What may be done to documents in these states; `held` is whether what comes later would wait, too."""
    makes_sense = {
        "resume": held or count.paused > 0,
        "pause": count.moving > 0,
        "cancel": count.work > 0,
        "retry": count.failed + count.cancelled > 0,
    }
    return [verb for verb, sense in makes_sense.items() if sense]
