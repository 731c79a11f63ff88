"""Sites, readers and clocks that the benchmarks share."""

import hashlib
import http.client
import json
import os
import secrets
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.live import Site

READERS = 16


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


@contextmanager
def site(folder: Path, **environment: str) -> Iterator[Site]:
    """A site of its own, whose database this process uses, too."""
    running = Site(folder, EMBED_BACKEND="auto", WORKER_NICE="10", **environment)
    running.start()
    os.environ |= {"KB_HOME": str(folder), "DJANGO_SETTINGS_MODULE": "kb.settings", "LOG_LEVEL": "ERROR"}
    try:
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
        body = json.dumps({"query": question})
        head = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        self.threads.connection.request("POST", "/api/v1/search", body, head)
        answer = self.threads.connection.getresponse()
        found = json.loads(answer.read())
        if answer.status != 200:
            raise AssertionError(found)
        return found


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
