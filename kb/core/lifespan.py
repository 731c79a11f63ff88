"""What is begun when a server begins to serve, and not when somebody imports the application."""

import gc
from collections.abc import Callable, Iterable

from kb.core.body_limit import Application, Receive, Scope, Send


class Lifespan:
    """An ASGI application around another one that answers the server's lifespan messages, which Django does not."""

    def __init__(self, application: Application, begin: Iterable[Callable[[], None]]) -> None:
        self.application = application
        self.begin = tuple(begin)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.application(scope, receive, send)
            return
        await receive()
        for step in self.begin:
            step()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def collect_seldom() -> None:
    """Has the garbage collector leave alone what is loaded by now, and look at the rest seldom: a search makes tens of
    thousands of objects, none of which is garbage in a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
