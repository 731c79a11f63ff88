"""How far versions are, for those who look again and again: they share what was counted a while ago."""

import threading
import time
from dataclasses import dataclass

from kb.indexes import building, estimates
from kb.indexes.building import Phase
from kb.indexes.estimates import Estimate
from kb.indexes.models import IndexVersion

State = IndexVersion.State
LEFT = (State.BUILDING, State.PAUSED, State.FAILED)  # of these is said what they still take
# What was counted holds so many times as long as counting took: a fiftieth of the time at most goes into looking.
HOLDS, LONGEST_SECONDS = 50, 60.0


@dataclass(frozen=True)
class Sight:
    """A version as it was counted; `left` where a build still takes something."""

    phase: Phase
    left: Estimate | None


_counting = threading.Lock()
_seen: dict[int, tuple[object, float, Sight]] = {}


def look(version: IndexVersion) -> Sight:
    """At a version, whose index and model should be at hand; one that went to another state is counted anew."""
    since = version.state, version.started_at, version.built_at
    with _counting:
        known = _seen.get(version.pk)
        if known and known[0] == since and time.monotonic() < known[1]:
            return known[2]
        began = time.monotonic()
        sight = counted(version)
        now = time.monotonic()
        _seen[version.pk] = since, now + min(HOLDS * (now - began), LONGEST_SECONDS), sight
        return sight


def counted(version: IndexVersion) -> Sight:
    phase = building.phase(version)
    return Sight(phase, estimates.estimate(version, phase.done) if version.state in LEFT else None)
