"""Keeps what is not live behind what is: a build gives way to live work, and rests while people search.

So does what a collection brings along that moves into an index: it is searched where it was until then.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings
from django.db import connection

from kb.indexes import embedding_queue
from kb.indexes.models import CollectionMove, EmbeddingJob, IndexVersion

LONGEST_REST = 5.0
QUIET_SECONDS = 15  # the database notes a scan some seconds late
NOTES_SCANS = 160000  # the version of PostgreSQL that notes when a table was read last

READ = """
SELECT max(greatest(last_seq_scan, last_idx_scan)) >= now() - make_interval(secs => %(seconds)s)
FROM pg_stat_user_tables WHERE relid = ANY(
    SELECT to_regclass('embedding_' || id) FROM indexes_indexversion WHERE state IN ('live', 'canary')
)
"""


def live_work_waits() -> bool:
    """Whether a job waits in any live version."""
    live = IndexVersion.objects.filter(state=IndexVersion.State.LIVE)
    return any(embedding_queue.has_work(version) for version in live)


def searched_lately() -> bool:
    """Whether vectors that serve were read of late: by a search, or by a build that computes of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int")
        (number,) = cursor.fetchone()
        if number < NOTES_SCANS:
            return True
        cursor.execute(READ, {"seconds": QUIET_SECONDS})
        (lately,) = cursor.fetchone()
    return bool(lately)


def always() -> bool:
    return True


@dataclass
class Throttle:
    """Asked between two batches whether to stop; before it says no, it rests.

    Of the time, `share` is work: after a batch of t seconds it rests t · (1 − share) / share, so that the
    processors are free for searches in between; not while nobody searches. `gave_way` tells that live work
    was the reason to stop.
    """

    stopping: Callable[[], object]
    share: float = 1.0
    busy: Callable[[], bool] = live_work_waits
    searched: Callable[[], bool] = always
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
        if self._since is not None and self.share < 1 and self.searched():
            worked = self.clock() - self._since
            self.rest(min(worked * (1 - self.share) / self.share, LONGEST_REST))
        self._since = self.clock()
        return False


def throttle(version: IndexVersion, stopping: Callable[[], object]) -> Throttle:
    """What a worker on the version's queue asks between batches: what is to be searched there soon never waits."""
    share = settings.INDEX_BUILD_PERCENT / 100
    if version.state == IndexVersion.State.LIVE:
        return Throttle(stopping, share if only_moves(version) else 1.0, never, searched_lately)
    building = version.state == IndexVersion.State.BUILDING
    return Throttle(stopping, share if building else 1.0, searched=searched_lately)


def only_moves(version: IndexVersion) -> bool:
    """Whether all that waits in it are collections that move into its index."""
    moving = list(CollectionMove.objects.filter(index=version.index_id).values_list("collection", flat=True))
    if not moving:
        return False
    jobs = EmbeddingJob.objects.filter(version=version, paused=False, attempts__lt=EmbeddingJob.MOST_ATTEMPTS)
    return not jobs.exclude(collection__in=moving).exists()


def never() -> bool:
    return False
