"""Sites, readers and clocks that the benchmarks share."""

import hashlib
import http.client
import json
import os
import re
import secrets
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.live import Site

READERS = 16
KEPT_SECONDS = 3.0  # a connection that rested for longer is made anew: the server closes those after five
LOCK_MILLISECONDS = 50


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def figures(times: Sequence[float]) -> dict[str, float]:
    """Percentiles of some times in milliseconds."""
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
    return {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "p99": round(cuts[98], 2)}


def side_by_side(
    engines: Mapping[str, Callable[[Any], object]],
    questions: Sequence[Any],
    before: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, list[float]]:
    """The times of each engine on the same questions, which all have been asked before.

    The engines take turns, and each question begins with another one, so that what disturbs one disturbs all.
    `before` says what is done ahead of an engine's turn, off the clock.
    """
    for question in questions:
        for search in engines.values():
            search(question)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number, question in enumerate(questions):
        names = deque(engines)
        names.rotate(number)
        for name in names:
            (before or {}).get(name, bool)()
            times[name].append(milliseconds(partial(engines[name], question)))
    return times


@contextmanager
def site(folder: Path, **environment: str) -> Iterator[Site]:
    """A site of its own, whose database and settings this process uses, too, once Django is set up."""
    running = Site(folder, EMBED_BACKEND="auto", WORKER_NICE="10", **environment)
    os.environ |= running.environment | {"DJANGO_SETTINGS_MODULE": "kb.settings", "LOG_LEVEL": "ERROR"}
    try:
        running.start()
        yield running
    finally:
        running.stop()


class Api:
    """Searches through the web server with a key of the person's, one connection for each thread."""

    def __init__(self, running: Site, username: str = "admin") -> None:
        self.secret = f"fn_{secrets.token_urlsafe(32)}"
        self.port, self.threads = running.port, threading.local()
        running.sql(
            "INSERT INTO core_apikey (owner_id, name, prefix, hash, scopes, created_at) "
            "SELECT id, 'benchmark', %s, %s, '{read}', now() FROM core_user WHERE username = %s",
            self.secret[:11],
            hashlib.sha256(self.secret.encode()).hexdigest(),
            username,
        )

    def search(self, question: str) -> Any:
        if not hasattr(self.threads, "connection"):
            self.threads.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        elif time.monotonic() - self.threads.used > KEPT_SECONDS:
            self.threads.connection.close()
        self.threads.used = time.monotonic()
        body = json.dumps({"query": question})
        head = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        self.threads.connection.request("POST", "/api/v1/search", body, head)
        answer = self.threads.connection.getresponse()
        found = json.loads(answer.read())
        if answer.status != 200:
            raise AssertionError(found)
        return found


class Locks:
    """The locks that were waited for since it was made, from the server's own log."""

    def __init__(self, running: Site, milliseconds: int = LOCK_MILLISECONDS) -> None:
        self.log = running.home / "logs" / "postgres.log"
        running.sql("ALTER SYSTEM SET log_lock_waits = on")
        running.sql(f"ALTER SYSTEM SET deadlock_timeout = '{milliseconds}ms'")
        running.sql("SELECT pg_reload_conf()")
        time.sleep(1)
        self.began = self.log.stat().st_size

    def waited(self) -> tuple[list[str], int]:
        """Statements that waited for longer than that, and how often a concurrent build waited for transactions to end,
        which is how it keeps out of everybody's way."""
        with self.log.open(errors="replace") as lines:
            lines.seek(self.began)
            found, own, waits = [], 0, False
            for line in lines:
                if "still waiting for" in line:
                    waits = " on virtual transaction " not in line
                    own += not waits
                elif waits and (statement := re.search(r"STATEMENT:\s*(.*)", line)):
                    found.append(statement[1] or next(lines, "").strip())
                    waits = False
        return found, own


@dataclass
class Whole:
    """A search that notes each error, and each answer that one arm gave alone, and goes on."""

    search: Callable[[Any], Any]
    missing: Callable[[Any], object]
    errors: list[str] = field(default_factory=list)

    def __call__(self, question: Any) -> None:
        try:
            if missing := self.missing(self.search(question)):
                self.errors.append(str(missing))
        except Exception as error:  # noqa: BLE001 (counted)
            self.errors.append(repr(error))


def crowd(search: Callable[[Any], object], questions: Sequence[Any]) -> tuple[list[float], float]:
    """Each question from each of many readers at once: the time each waited, and the seconds in all."""
    with ThreadPoolExecutor(READERS) as readers:
        began = time.perf_counter()
        asked = [
            readers.submit(milliseconds, lambda q=q: search(q)) for _ in range(READERS) for q in questions
        ]
        return [each.result() for each in asked], time.perf_counter() - began


def open_loop(ask: Callable[[int], object], pause: float, meanwhile: Callable[[], object]) -> list[float]:
    """Questions begun every `pause` seconds, whether or not the ones before are done, while `meanwhile` goes on.

    `ask` is given the question's number. The times, in milliseconds, are from when each was due.
    """
    over = threading.Event()

    def work() -> None:
        try:
            meanwhile()
        finally:
            over.set()

    with ThreadPoolExecutor(2 * READERS) as readers:
        worker = readers.submit(work)
        asked, due = [], time.perf_counter()
        while not over.is_set():
            asked.append(readers.submit(since, due, partial(ask, len(asked))))
            due += pause
            time.sleep(max(0.0, due - time.perf_counter()))
        worker.result()
        return [each.result() for each in asked]


def since(due: float, work: Callable[[], object]) -> float:
    """Milliseconds from when it was due: who waits in a queue waits, too."""
    work()
    return 1000 * (time.perf_counter() - due)
