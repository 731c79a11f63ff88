"""Asks a service that may be slow or gone for a bounded time, and leaves it alone after failures.

The circuit breaker is Nygard's (Release It!, 2007): closed, open after failures in a row, then half open for one probe.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from retrieval.embedders import EmbeddingError
from retrieval.threads import DaemonThreads

T = TypeVar("T")


class Unasked(EmbeddingError):
    """The service failed of late and rests, so it was not asked."""


class TooSlow(EmbeddingError):
    """No answer came in time."""


@dataclass(frozen=True)
class Policy:
    """After so many `failures` in a row nobody asks for `pause` seconds; then one question is the probe."""

    failures: int = 3
    pause: float = 15.0


@dataclass(frozen=True)
class Circuit:
    """Failures in a row, until when nobody asks, and until when a probe may take (clock's seconds)."""

    failures: int = 0
    open_until: float | None = None
    probe_until: float | None = None


def admitted(circuit: Circuit, policy: Policy, now: float) -> tuple[bool, Circuit]:
    """Whether to ask now, and the circuit from then on. A probe that never ends is followed by another one."""
    if circuit.open_until is None:
        return True, circuit
    probing = circuit.probe_until is not None and now < circuit.probe_until
    if now < circuit.open_until or probing:
        return False, circuit
    return True, Circuit(circuit.failures, circuit.open_until, now + policy.pause)


def failed(circuit: Circuit, policy: Policy, now: float) -> Circuit:
    failures = circuit.failures + 1
    if failures < policy.failures:
        return Circuit(failures)
    return Circuit(failures, now + policy.pause)


class Breaker:
    """One circuit, shared by threads."""

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._clock = policy, clock
        self._circuit, self._lock = Circuit(), threading.Lock()

    def allows(self) -> bool:
        """Whether to ask now. Whoever is allowed to must say how it went."""
        with self._lock:
            allowed, self._circuit = admitted(self._circuit, self._policy, self._clock())
        return allowed

    def succeeded(self) -> None:
        with self._lock:
            self._circuit = Circuit()

    def failed(self) -> None:
        with self._lock:
            self._circuit = failed(self._circuit, self._policy, self._clock())


class Guard:
    """Asks one service from threads of its own: whoever asks waits for a bounded time.

    Nothing can stop a thread from outside: one that hangs in the service stays occupied until it comes
    back. There are at most `threads` of them, however many ask. `answered` says whether the service
    ever did.
    """

    def __init__(self, name: str, policy: Policy, threads: int = 4) -> None:
        self.breaker, self.answered = Breaker(policy), False
        self._threads = DaemonThreads(threads, name)

    def ask(self, work: Callable[[], T], seconds: float, afterwards: Callable[[T], object]) -> T:
        """What `work` returns, `seconds` from now at the latest.

        Raises Unasked while the service rests, TooSlow if nothing came in time, and what `work` raises.
        What came, even too late, is given to `afterwards`, for which nobody waits.
        """
        if not self.breaker.allows():
            raise Unasked("It failed of late, and is not asked for some seconds.")
        asked = self._threads.submit(work)
        asked.add_done_callback(partial(self._came, afterwards))
        try:
            result = asked.result(max(seconds, 0))
        except Exception as error:
            asked.cancel()
            self.breaker.failed()
            if asked.done() and not asked.cancelled():
                raise
            raise TooSlow(f"No answer came within {seconds:.1f} s.") from error
        self.breaker.succeeded()
        return result

    def _came(self, afterwards: Callable[[T], object], asked: "Future[T]") -> None:
        if not asked.cancelled() and asked.exception() is None:
            self.answered = True
            afterwards(asked.result())
