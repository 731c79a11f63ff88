"""The process that has imported the parsers and forks for each document: python -m retrieval.loading.zygote.

Requests come as lines of JSON on standard input, answers go as a length (8 bytes, big-endian) and
that many bytes of JSON to standard output. It ends when its standard input or its parent does.
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
from pathlib import Path
from typing import NamedTuple, NoReturn

from retrieval.loading import LoadError, limits, parse, wire
from retrieval.loading.death import die_with_parent
from retrieval.loading.limits import Limits

# Not PR_SET_PDEATHSIG: it follows the parent's thread, not its process, and the thread that made the
# first request may be gone long before the process is.
_LOOK_FOR_PARENT_EVERY = 1.0
_CHUNK = 1 << 20


class _Child(NamedTuple):
    """A forked process that waits to be asked for one document."""

    pid: int
    asking: int
    answering: int


def main() -> None:
    """Serve until the parent is gone."""
    parent = os.getppid()
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    gc.collect()
    gc.freeze()  # a collection in a child must not copy the pages that all share
    pending = b""
    child = _forked()  # ahead of the request, which then need not wait for it
    while True:
        while b"\n" not in pending:
            pending += _read(parent)
        line, _, pending = pending.partition(b"\n")
        if _has_ended(child):  # while it waited, by somebody's hand: not for what it has not read yet
            _ended(child)
            child = _forked()
        _write_to_child(child, line + b"\n")
        allowed = Limits(**json.loads(line)["limits"])
        try:
            answer = _received(child.answering, time.monotonic() + allowed.wall_seconds, allowed, parent)
        except BaseException:
            _ended(child)
            raise
        if answer is not None and answer.endswith(b"\n"):
            _answer_to_parent(answers, answer[:-1])
            _stop(child)
            successor = _forked()  # while the kernel takes the other one down
            os.waitpid(child.pid, 0)
            child = successor
        else:
            _answer_to_parent(answers, _without_answer(child, allowed, is_late=answer is None))
            child = _forked()


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
        _serve_one_and_exit(asked, answer)
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


def _serve_one_and_exit(asked: int, sending: int) -> NoReturn:
    """In the child: wait, parse, send the answer, end without running anything of the zygote's."""
    try:
        os.setpgid(0, 0)
        die_with_parent()
        os.dup2(asked, 0)
        os.closerange(3, sending)  # a hostile file that takes over the child finds no way to the parent
        line = b""
        while not line.endswith(b"\n"):
            received = os.read(0, _CHUNK)
            if not received:  # the zygote has ended
                os._exit(0)
            line += received
        request = json.loads(line)
        allowed = Limits(**request["limits"])
        limits.apply(allowed)
        _write(sending, _answer(Path(request["path"]), request["filename"], allowed) + b"\n")
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(0)


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
