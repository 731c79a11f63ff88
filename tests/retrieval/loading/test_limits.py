"""How a child's end is read: which signal, after how much memory and time, means what."""

import resource
import signal
from types import SimpleNamespace
from typing import cast

import pytest

from retrieval.loading.limits import Limits, cause_of_death

LIMITS = Limits(memory_bytes=100 * 1024 * 1024, cpu_seconds=10)


@pytest.mark.parametrize(
    ("status", "kilobytes", "seconds", "code"),
    [
        (int(signal.SIGXCPU), 1_000, 10.0, "timeout"),
        (int(signal.SIGKILL), 1_000, 11.0, "timeout"),
        (int(signal.SIGKILL), 1_000, 1.0, "stopped"),
        (int(signal.SIGKILL), 90_000, 1.0, "memory"),
        (int(signal.SIGSEGV), 90_000, 1.0, "memory"),
        (int(signal.SIGABRT), 90_000, 1.0, "memory"),
        (int(signal.SIGSEGV), 1_000, 1.0, "crashed"),
        (int(signal.SIGTERM), 90_000, 1.0, "crashed"),
        (0, 90_000, 1.0, "crashed"),
        (3 << 8, 1_000, 1.0, "crashed"),
    ],
)
def test_cause_of_death(monkeypatch, status, kilobytes, seconds, code):
    monkeypatch.setattr("sys.platform", "linux")  # elsewhere the kernel counts in bytes
    usage = SimpleNamespace(ru_maxrss=kilobytes, ru_utime=seconds, ru_stime=0.0)
    found, message = cause_of_death(status, cast(resource.struct_rusage, usage), LIMITS)
    assert found == code
    assert message.endswith(".")
