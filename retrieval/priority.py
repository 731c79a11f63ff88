"""How urgent this process is to the kernel."""

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def give_way(steps: int) -> None:
    """Lets processes that are `steps` (0 to 19) more urgent go first, also those of other sessions.

    Where Linux shares processors out between sessions (sched(7), autogroup), a nice value counts inside of one only,
    so the session gets it, too. What this process starts in its own session inherits it.
    """
    os.nice(steps)
    keep_in_session()


def keep_in_session() -> None:
    """Gives the session that this process has begun the nice value that it inherited."""
    with suppress(OSError):  # no such file, not ours to write, or changed a moment ago
        AUTOGROUP.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))
