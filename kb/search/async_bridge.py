"""Runs a blocking generator in a thread for an async reader, and ends it when the reader leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from django.db import connections

T = TypeVar("T")

HEARTBEAT_SECONDS = 10.0
_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="stream")


class End:
    """The generator ended; with an error if it raised one."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


async def stream(make: Callable[[], Iterator[T]]) -> AsyncIterator[T | None]:
    """Yields what `make()` yields, in a thread; None whenever nothing came for a while (a heartbeat).

    When the reader stops, the generator is closed at its next step. Its exceptions are raised here.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | End] = asyncio.Queue()
    left = False

    def put(item: T | End) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        error: BaseException | None = None
        try:
            with closing(make()) as items:  # type: ignore[type-var]  # a generator, which has close()
                for item in items:
                    if left:
                        break
                    put(item)
        except Exception as raised:  # noqa: BLE001  # handed to the reader below
            error = raised
        finally:
            connections.close_all()
            if not loop.is_closed():
                put(End(error))

    running = loop.run_in_executor(_threads, work)
    try:
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield None
                continue
            if isinstance(item, End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        left = True
        running.cancel()
