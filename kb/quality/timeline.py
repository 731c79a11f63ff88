"""The life of index versions as a picture: in which state each was, from when to when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kb.indexes.models import IndexTransition, IndexVersion

State = IndexVersion.State
GONE = (State.DROPPED,)
ENDED = (State.DROPPED, State.CANCELLED)
SETTLED = (State.LIVE, State.RETIRED, *ENDED)
THINNEST = 0.4  # percent of the picture: a state of a second is to be seen, too


@dataclass(frozen=True)
class Window:
    """How far back a picture goes; `span` is None where it begins with the first version."""

    key: str
    label: str
    span: timedelta | None


WINDOWS = (
    Window("minutes", "Last ten minutes", timedelta(minutes=10)),
    Window("hour", "Last hour", timedelta(hours=1)),
    Window("day", "Last day", timedelta(days=1)),
    Window("week", "Last week", timedelta(days=7)),
    Window("quarter", "Last 90 days", timedelta(days=90)),
    Window("all", "All", None),
)


@dataclass(frozen=True)
class Stay:
    """A version's time in one state; `end` is None while it lasts. Who brought it there, and why."""

    state: str
    label: str
    start: datetime
    end: datetime | None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Bar:
    """A stay in the picture, whose whole width is 100."""

    stay: Stay
    x: float
    width: float


@dataclass(frozen=True)
class Lane:
    """One version and its bars, oldest first."""

    version: IndexVersion
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Timeline:
    """The lanes of an index between two moments, newest version first."""

    window: Window
    start: datetime
    end: datetime
    lanes: Sequence[Lane]

    @property
    def middle(self) -> datetime:
        return self.start + (self.end - self.start) / 2

    @property
    def states(self) -> list[tuple[str, str]]:
        """Those that are in the picture, in the order of a version's life."""
        seen = {bar.stay.state for lane in self.lanes for bar in lane.bars}
        return [(state, label) for state, label in State.choices if state in seen]


def timeline(versions: Iterable[IndexVersion], key: str, now: datetime) -> Timeline:
    """Of versions with their transitions and those's actors at hand; without a known `key`, of the smallest
    window that shows all of what is under way, or of the newest version where nothing is."""
    each = [(version, stays(version.transitions.all())) for version in versions]
    begins = [known[0].start for _, known in each if known]
    under_way = [known[0].start for version, known in each if known and version.state not in SETTLED]
    oldest = min(under_way, default=max(begins, default=now))
    window = chosen(key, now - oldest)
    start = now - window.span if window.span else min(begins, default=now - timedelta(hours=1))
    lanes = [Lane(version, bars(known, start, now)) for version, known in each]
    return Timeline(window, start, now, [lane for lane in lanes if lane.bars])


def chosen(key: str, age: timedelta) -> Window:
    named = next((window for window in WINDOWS if window.key == key), None)
    return named or next(window for window in WINDOWS if window.span is None or window.span >= age)


def stays(transitions: Iterable[IndexTransition]) -> list[Stay]:
    """What a version's transitions tell, oldest first."""
    ordered = sorted(transitions, key=lambda each: (each.at, each.pk))
    ends: list[datetime | None] = [each.at for each in ordered[1:]]
    return [
        Stay(each.after, each.get_after_display(), each.at, end, str(each.actor or ""), each.reason)
        for each, end in zip(ordered, [*ends, None], strict=False)  # none without a transition
    ]


def bars(known: Iterable[Stay], start: datetime, end: datetime) -> list[Bar]:
    """The stays that reach into the picture, cut to it."""
    whole = (end - start).total_seconds()
    found = []
    for stay in known:
        until = stay.end or end
        if stay.state in GONE or until < start or stay.start > end or whole <= 0:
            continue
        left = max((stay.start - start).total_seconds(), 0) / whole
        right = min((until - start).total_seconds(), whole) / whole
        width = max(100 * (right - left), THINNEST)
        found.append(Bar(stay, min(100 * left, 100 - width), width))
    return found
