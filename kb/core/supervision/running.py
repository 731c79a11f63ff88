"""One child at run time: starts it, sees it end, stops it with all that it started."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from kb.core.environment import ROOT
from kb.core.supervision.children import Child
from kb.core.supervision.guardian import alive
from kb.core.supervision.logs import last_words, log_path, open_log


class Adopted:
    """A process that an earlier run started; its exit status is nobody's to know."""

    stdout: IO[bytes] | None = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        return None if alive(self.pid) else 0


class Running:
    """A child with its process, if it has one; times are of the monotonic clock."""

    def __init__(self, child: Child, home: Path) -> None:
        self.child = child
        self.home = home
        self.process: subprocess.Popen[bytes] | Adopted | None = None
        self.started = 0.0
        self.started_at = 0.0  # the same moment in seconds since the epoch, to compare with heartbeats
        self.deaths = 0
        self.due: float | None = None  # when to start it next
        self.begun = False
        self.ready = False
        self.was_ready = False
        self.kill_at: float | None = None  # set when it was asked to stop
        self.log_begin = 0

    def start(self) -> None:
        """Raises EmbeddedServiceError, OSError, or BlockingIOError where it should be tried again soon."""
        self.due = None
        pid = self.child.adopt()
        if pid is None:
            command = self.child.command()
            with open_log(self.home, self.child.name) as log:
                self.log_begin = log.tell()
                # A session of its own: the terminal's Ctrl-C is for us, and its whole group can be ended.
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if self.child.once else log,
                    stderr=log,
                    start_new_session=True,
                    cwd=ROOT,
                )
        else:
            self.process = Adopted(pid)
        self.begun = True
        self.started, self.started_at = time.monotonic(), time.time()

    @property
    def pid(self) -> int | None:
        return None if self.process is None else self.process.pid

    def send(self, number: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill_group(self) -> None:
        """Ends whatever is left of the child and of the processes that it started."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def ask_to_stop(self, seconds: float | None = None) -> None:
        self.kill_at = time.monotonic() + (self.child.stop_seconds if seconds is None else seconds)
        self.send(self.child.stop_signal)

    def force(self) -> None:
        """Ends it now; one with a gentler last signal than SIGKILL has a few seconds to follow it."""
        if self.child.force_signal == signal.SIGKILL:
            self.kill_group()
        else:
            self.send(self.child.force_signal)

    def ended(self) -> int | None:
        """The exit status if the process has ended; what it left running is ended too."""
        if self.process is None:
            return None
        status = self.process.poll()
        if status is not None:
            self.kill_group()
        return status

    def forget(self) -> None:
        self.process = None
        self.ready = False
        self.kill_at = None

    def last_words(self, status: int) -> str:
        return last_words(log_path(self.home, self.child.name), self.log_begin, status)
