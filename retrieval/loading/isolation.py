"""Loads files of others: in a process of their own, under limits, one at a time."""

import dataclasses
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path

from retrieval.loading import wire
from retrieval.loading.errors import LoadError, ReaderStopped
from retrieval.loading.language import with_language
from retrieval.loading.limits import Limits
from retrieval.spans import LoadedText

__all__ = ["IsolatedLoader", "Limits"]

_ROOT = Path(__file__).resolve().parents[2]
# What a process that reads hostile files gets of the environment: no keys, no passwords.
_ENVIRONMENT = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "TZ"})
_GRACE_SECONDS = 10.0  # on top of the wall time, for the zygote to start, kill and answer
_LENGTH_BYTES = 8


class IsolatedLoader:
    """Loads one file at a time in a child of a zygote process, which it starts at the first need.

    May be shared by threads, and be made before a fork: each process gets its own zygote. Uses
    `subprocess` only, as Celery's daemonic workers may not use `multiprocessing`.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._zygote: subprocess.Popen[bytes] | None = None

    def load(self, path: Path, filename: str) -> LoadedText:
        """The text of the file at `path`, by the rules for `filename`; LoadError, or OSError if not there."""
        path = path.resolve(strict=True)
        request = {"path": str(path), "filename": filename, "limits": dataclasses.asdict(self.limits)}
        self._disown_after_fork()
        with self._lock:
            answer = self._ask(json.dumps(request).encode() + b"\n")
        try:
            return with_language(wire.decode(answer), filename)
        except ValueError as error:
            raise LoadError(
                "crashed", "The reader gave an impossible answer for this file. Save it anew and try again."
            ) from error

    def close(self) -> None:
        """End the zygote; the next load starts another."""
        self._disown_after_fork()
        with self._lock:
            self._end()

    @property
    def zygote_pid(self) -> int | None:
        """The process id of the running zygote, for those who watch processes."""
        return self._zygote.pid if self._zygote and self._zygote.poll() is None else None

    def _disown_after_fork(self) -> None:
        """In a forked process: leave the zygote, and a lock that a thread may have held, to the parent."""
        if self._owner == os.getpid():
            return
        if self._zygote:
            self._zygote.returncode = 0  # not our child: nothing to wait for
            self._close_pipes(self._zygote)
        self._owner, self._zygote, self._lock = os.getpid(), None, threading.Lock()

    def _ask(self, request: bytes) -> bytes:
        zygote = self._running()
        try:
            if zygote.stdin:
                zygote.stdin.write(request)
            deadline = time.monotonic() + self.limits.wall_seconds + _GRACE_SECONDS
            length = int.from_bytes(self._read(zygote, _LENGTH_BYTES, deadline), "big")
            return self._read(zygote, length, deadline)
        except TimeoutError as error:
            self._end()
            raise LoadError("timeout", "Reading the file did not end in time. Try again later.") from error
        except (EOFError, BrokenPipeError) as error:
            self._end()
            raise ReaderStopped from error
        except BaseException:  # an interrupt in between would leave an answer for the next to read
            self._end()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._zygote is not None and self._zygote.poll() is not None:
            self._end()
        if self._zygote is None:
            self._zygote = self._started()
        return self._zygote

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")])
        )
        environment["OPENBLAS_NUM_THREADS"] = "1"  # threads do not come along when it forks
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "retrieval.loading.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then ends it
        )

    @staticmethod
    def _read(zygote: subprocess.Popen[bytes], length: int, deadline: float) -> bytes:
        pieces: list[bytes] = []
        stdout = zygote.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(stdout or -1, selectors.EVENT_READ)
            while length > 0:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise TimeoutError
                piece = stdout.read(min(length, 1 << 20)) if stdout else b""
                if not piece:
                    raise EOFError
                pieces.append(piece)
                length -= len(piece)
        return b"".join(pieces)

    def _end(self) -> None:
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.kill()
            zygote.wait()
            self._close_pipes(zygote)

    @staticmethod
    def _close_pipes(zygote: subprocess.Popen[bytes]) -> None:
        for pipe in (zygote.stdin, zygote.stdout):
            if pipe:
                pipe.close()
