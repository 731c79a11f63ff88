"""Keeps what is not live behind what is: a build rests between batches, and gives way to live work."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings

from kb.indexes import embedding_queue
from kb.indexes.models import IndexVersion

LONGEST_REST = 5.0


def live_work_waits() -> bool:
    """Whether a job waits in any live version."""
    live = IndexVersion.objects.filter(state=IndexVersion.State.LIVE)
    return any(embedding_queue.has_work(version) for version in live)


@dataclass
class Throttle:
    """Asked between two batches whether to stop; before it says no, it rests.

    Of the time, `share` is work: after a batch of t seconds it rests t · (1 − share) / share, so that the
    processors are free for searches in between. `gave_way` tells that live work was the reason to stop.
    """

    stopping: Callable[[], object]
    share: float = 1.0
    busy: Callable[[], bool] = live_work_waits
    rest: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    gave_way: bool = False
    _since: float | None = field(default=None, init=False)

    def __call__(self) -> bool:
        if self.stopping():
            return True
        if self.busy():
            self.gave_way = True
            return True
        if self._since is not None and self.share < 1:
            worked = self.clock() - self._since
            self.rest(min(worked * (1 - self.share) / self.share, LONGEST_REST))
        self._since = self.clock()
        return False


def throttle(version: IndexVersion, stopping: Callable[[], object]) -> Throttle:
    """What a worker on the version's queue asks between batches: the live version never waits."""
    if version.state == IndexVersion.State.LIVE:
        return Throttle(stopping, busy=never)
    building = version.state == IndexVersion.State.BUILDING
    return Throttle(stopping, settings.INDEX_BUILD_PERCENT / 100 if building else 1.0)


def never() -> bool:
    return False
