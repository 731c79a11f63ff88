"""The process that has imported the parsers and forks to read documents: python -m retrieval.loading.zygote.

Requests come as lines of JSON on standard input, answers go as a length (8 bytes, big-endian) and
that many bytes of JSON to standard output. It ends when its standard input or its parent does.

Each document has a child of its own, but for those that Python alone reads: a child reads several of them, since
the fork takes thirty times as long as the reading. Where it does not succeed with one, a new child reads that again.
"""

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from retrieval.loading import MARKDOWN, SIMPLE, LoadError, limits, wire
from retrieval.loading.death import die_with_parent
from retrieval.loading.limits import Limits
from retrieval.loading.loaders import parse
from retrieval.priority import keep_in_session

# Not PR_SET_PDEATHSIG: it follows the parent's thread, not its process, and the thread that made the
# first request may be gone long before the process is.
_LOOK_FOR_PARENT_EVERY = 1.0
_CHUNK = 1 << 20
_SECONDS_OF_SERVICE = 5.0


@dataclass
class _Child:
    """A forked process that waits to be asked; `since` is when it was asked first."""

    pid: int
    asking: int
    answering: int
    since: float | None = None


def main() -> None:
    """Serve until the parent is gone."""
    parent = os.getppid()
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    keep_in_session()
    gc.collect()
    gc.freeze()  # a collection in a child must not copy the pages that all share
    pending = b""
    children = _Children(parent)
    while True:
        while b"\n" not in pending:
            pending += _read(parent)
        line, _, pending = pending.partition(b"\n")
        request = json.loads(line)
        allowed = Limits(**request["limits"])
        is_simple = _is_simple(Path(request["path"]), request["filename"])
        answer = children.answer(line, allowed, is_simple=is_simple)
        _answer_to_parent(answers, answer)
        children.make_ready(keep=is_simple and not wire.is_error(answer))


def _is_simple(path: Path, filename: str) -> bool:
    """Whether Python alone reads it: tags within Markdown are for the native parser of HTML."""
    suffix = Path(filename).suffix.lower()
    if suffix not in MARKDOWN:
        return suffix in SIMPLE
    try:
        small = path.is_file() and path.stat().st_size <= _CHUNK
        return small and b"<" not in path.read_bytes()
    except OSError:  # which the child will say
        return False


class _Children:
    """The child that waits to be asked, one after the other."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._child = _forked()  # ahead of the request, which then need not wait for it

    def answer(self, line: bytes, allowed: Limits, *, is_simple: bool) -> bytes:
        """The result of the request, or why there is none."""
        may_read = self._child.since is None or (is_simple and self._is_young(allowed))
        # Somebody may have ended it while it waited: not for what it has not read yet.
        if _has_ended(self._child) or not may_read:
            self._replace()
        has_read, began = self._child.since is not None, time.monotonic()
        answer = self._asked(line, allowed)
        in_time = time.monotonic() - began < allowed.wall_seconds / 2
        if has_read and wire.is_error(answer) and in_time:  # what it read before may be to blame
            self.make_ready(keep=False)
            answer = self._asked(line, allowed)
        return answer

    def make_ready(self, *, keep: bool) -> None:
        """For the next request, while the asker works on the answer to this one."""
        if not keep and self._child.since is not None:
            self._replace()

    def _is_young(self, allowed: Limits) -> bool:
        """What it has used by now does not count against its limits for one document."""
        most = min(_SECONDS_OF_SERVICE, allowed.cpu_seconds / 10)
        return self._child.since is None or time.monotonic() - self._child.since < most

    def _asked(self, line: bytes, allowed: Limits) -> bytes:
        child, began = self._child, time.monotonic()
        child.since = child.since or began
        _write_to_child(child, line + b"\n")
        try:
            answer = _received(child.answering, began + allowed.wall_seconds, allowed, self._parent)
        except BaseException:
            _ended(child)
            raise
        if answer is not None and answer.endswith(b"\n"):
            return answer[:-1]
        failure = _without_answer(child, allowed, is_late=answer is None)
        self._child = _forked()
        return failure

    def _replace(self) -> None:
        old = self._child
        _stop(old)
        self._child = _forked()  # while the kernel takes the other one down
        os.waitpid(old.pid, 0)


def _answer_to_parent(answers: int, answer: bytes) -> None:
    _write(answers, len(answer).to_bytes(8, "big") + answer)


def _without_answer(child: _Child, allowed: Limits, *, is_late: bool) -> bytes:
    """The answer for a child that did not live to say all, or did not end in time."""
    status, usage = _ended(child)
    if is_late:
        return wire.encode_error(*limits.timeout(f"{allowed.wall_seconds:g} seconds"))
    return wire.encode_error(*limits.cause_of_death(status, usage, allowed))


def _forked() -> _Child:
    asked, asking = os.pipe()
    answering, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _serve_and_exit(asked, answer)
    os.close(asked)
    os.close(answer)
    return _Child(pid, asking, answering)


def _write_to_child(child: _Child, line: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # somebody killed it: its end will be found out
        _write(child.asking, line)


def _has_ended(child: _Child) -> bool:
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _ended(child: _Child) -> tuple[int, resource.struct_rusage]:
    """How the child ended; it has done so now."""
    _stop(child)
    return os.wait4(child.pid, 0)[1:]


def _stop(child: _Child) -> None:
    """Have the child end: what it says is no longer read."""
    os.close(child.asking)
    os.close(child.answering)
    _kill_group(child.pid)


def _read(parent: int) -> bytes:
    """Some bytes from standard input; ends the process when there will be none."""
    while not select.select([0], [], [], _LOOK_FOR_PARENT_EVERY)[0]:
        _end_if_orphaned(parent)
    received = os.read(0, _CHUNK)
    if not received:
        sys.exit(0)
    return received


def _end_if_orphaned(parent: int) -> None:
    if os.getppid() != parent:
        sys.exit(0)


def _received(receiving: int, deadline: float, allowed: Limits, parent: int) -> bytes | None:
    """All that the child sends until it says that it is all, or ends; None if neither by the deadline."""
    pieces: list[bytes] = []
    most = 16 * allowed.max_text_chars + 64 * _CHUNK  # no honest answer is larger
    while most > 0:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return None
        ready = select.select([receiving, 0], [], [], min(remaining, _LOOK_FOR_PARENT_EVERY))[0]
        if receiving in ready:
            piece = os.read(receiving, _CHUNK)
            if not piece:
                break
            pieces.append(piece)
            most -= len(piece)
            if piece.endswith(b"\n"):
                break
        elif 0 in ready:  # one request at a time: this can only be the end of the parent
            sys.exit(0)
        else:
            _end_if_orphaned(parent)
    return b"".join(pieces)


def _kill_group(child: int) -> None:
    """End the child and whatever it may have started. A child that has just ended stays as it was."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # not yet the leader of a group of its own
        os.kill(child, signal.SIGKILL)


def _serve_and_exit(asked: int, sending: int) -> NoReturn:
    """In the child: wait, parse, send the answer, until it is ended; without running anything of the zygote's."""
    try:
        os.setpgid(0, 0)
        die_with_parent()
        os.dup2(asked, 0)
        os.closerange(3, sending)  # a hostile file that takes over the child finds no way to the parent
        limited = False
        while True:
            request = json.loads(_line())
            allowed = Limits(**request["limits"])
            if not limited:
                limits.apply(allowed)
                limited = True
            _write(sending, _answer(Path(request["path"]), request["filename"], allowed) + b"\n")
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(0)


def _line() -> bytes:
    """A request from standard input; ends the process with the zygote."""
    line = b""
    while not line.endswith(b"\n"):
        received = os.read(0, _CHUNK)
        if not received:
            os._exit(0)
        line += received
    return line


def _answer(path: Path, filename: str, allowed: Limits) -> bytes:
    try:
        return wire.encode(parse(path.read_bytes(), filename, allowed.max_text_chars))
    except LoadError as error:
        return wire.encode_error(error.code, error.message)
    except MemoryError:
        return wire.encode_error(*limits.memory(allowed))
    except Exception as error:  # noqa: BLE001 - a parser may raise anything on a hostile file
        traceback.print_exc()
        return wire.encode_error(
            "crashed",
            f"The reader failed on this file ({type(error).__name__}). "
            "Save it anew in the program that made it, or in another format.",
        )


def _write(to: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(to, view) :]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the parent ended while we answered
        main()
