"""The process that has imported the parsers and forks for each document: python -m retrieval.loading.zygote.

Requests come as lines of JSON on standard input, answers go as a length (8 bytes, big-endian) and
that many bytes of JSON to standard output. It ends when its standard input or its parent does.
"""

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from retrieval.loading import LoadError, limits, load, wire
from retrieval.loading.death import die_with_parent
from retrieval.loading.limits import Limits

# Not PR_SET_PDEATHSIG: it follows the parent's thread, not its process, and the thread that made the
# first request may be gone long before the process is.
_LOOK_FOR_PARENT_EVERY = 1.0
_CHUNK = 1 << 20


def main() -> None:
    """Serve until the parent is gone."""
    parent = os.getppid()
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    gc.freeze()  # a collection in a child must not copy the pages that all share
    pending = b""
    while True:
        while b"\n" not in pending:
            pending += _read(parent)
        line, _, pending = pending.partition(b"\n")
        request = json.loads(line)
        answer = _in_child(Path(request["path"]), request["filename"], Limits(**request["limits"]), parent)
        _write(answers, len(answer).to_bytes(8, "big") + answer)


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


def _in_child(path: Path, filename: str, allowed: Limits, parent: int) -> bytes:
    """The answer of a child that parses under limits, or one that says how the child ended."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        _parse_and_exit(path, filename, allowed, sending)
    os.close(sending)
    try:
        answer = _received(receiving, time.monotonic() + allowed.wall_seconds, allowed, parent)
    finally:
        os.close(receiving)
        _kill_group(child)
        _, status, usage = os.wait4(child, 0)
    if answer is None:
        return wire.encode_error(*limits.timeout(f"{allowed.wall_seconds:g} seconds"))
    if not answer.endswith(b"\n"):  # it did not live to say all
        return wire.encode_error(*limits.cause_of_death(status, usage, allowed))
    return answer[:-1]


def _received(receiving: int, deadline: float, allowed: Limits, parent: int) -> bytes | None:
    """All that the child sends until it ends; None if it has not ended by the deadline."""
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


def _parse_and_exit(path: Path, filename: str, allowed: Limits, sending: int) -> NoReturn:
    """In the child: parse, send the answer, end without running anything of the zygote's."""
    try:
        os.setpgid(0, 0)
        die_with_parent()
        os.close(0)
        os.closerange(3, sending)  # a hostile file that takes over the child finds no way to the parent
        limits.apply(allowed)
        _write(sending, _answer(path, filename, allowed) + b"\n")
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(0)


def _answer(path: Path, filename: str, allowed: Limits) -> bytes:
    try:
        return wire.encode(load(path.read_bytes(), filename, allowed.max_text_chars))
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
