"""What the parsing of one document may use, and what its end says about it when it used more."""

import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from retrieval.loading.errors import STOPPED, Code, Stopped

_OPEN_FILES = 64
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP})


@dataclass(frozen=True)
class Limits:
    """`memory_bytes` comes on top of what the parsers themselves take; `wall_seconds` may be a fraction."""

    memory_bytes: int = 1024 * 1024 * 1024
    cpu_seconds: int = 60
    wall_seconds: float = 120.0
    max_text_chars: int = 5_000_000


def apply(limits: Limits) -> None:
    """Put this process under `limits`, for good."""
    _limit(resource.RLIMIT_CORE, 0, 0)
    _limit(resource.RLIMIT_FSIZE, 0, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES)
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    if sys.platform == "linux":  # elsewhere the limit on the address space is not kept, or not settable
        space = _mapped_bytes() + limits.memory_bytes
        _limit(resource.RLIMIT_AS, space, space)


def _limit(which: int, soft: int, hard: int) -> None:
    """Set a limit, or leave the one that is there where it is lower."""
    highest = resource.getrlimit(which)[1]
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    resource.setrlimit(which, (soft, hard))


def _mapped_bytes() -> int:
    """The address space of this process; a limit below it would stop the next allocation."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cause_of_death(status: int, usage: resource.struct_rusage, limits: Limits) -> tuple[Code | Stopped, str]:
    """Code and message for a child that ended without a result; `status` as waitpid gives it."""
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    used_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    spent = usage.ru_utime + usage.ru_stime
    if ended_by == signal.SIGXCPU or (ended_by == signal.SIGKILL and spent >= limits.cpu_seconds):
        return timeout(f"{limits.cpu_seconds} seconds of computing")
    # A native library that is refused memory aborts; the kernel's own shortage ends with SIGKILL.
    if ended_by in {*_CRASHES, signal.SIGKILL} and used_bytes >= 0.5 * limits.memory_bytes:
        return memory(limits)
    if ended_by == signal.SIGKILL:
        return STOPPED, "Somebody stopped the reader while it read the file."
    return "crashed", (
        "The reader broke down on this file. Try again; if it happens again, "
        "save the file anew in the program that made it, or in another format."
    )


def timeout(allowed: str) -> tuple[Code, str]:
    return "timeout", f"Reading the file took longer than {allowed}. Split it into smaller files."


def memory(limits: Limits) -> tuple[Code, str]:
    return "memory", (
        f"Reading the file took more than {limits.memory_bytes >> 20} MB of memory. "
        "Split it into smaller files."
    )
