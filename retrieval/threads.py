"""A bounded pool of threads that do not keep the process from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Runs work in at most `most` threads, started as they are needed.

    The threads of concurrent.futures are waited for when the process ends; one that hangs, say in a
    library that nothing can interrupt, would keep it from ending.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._starting = threading.Lock()
        self._started = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Work that is cancelled before its turn is not begun."""
        future: Future[T] = Future()
        self._queue.put((future, work))
        with self._starting:
            if not self._idle.acquire(blocking=False) and self._started < self._most:
                self._started += 1
                name = f"{self._name}-{self._started}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            perform(*self._queue.get())
            self._idle.release()


def perform(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 (whoever waits is told, whatever it is)
        future.set_exception(error)
    else:
        future.set_result(result)
