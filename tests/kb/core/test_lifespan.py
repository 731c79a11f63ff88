"""What begins with the server, begins with it alone."""

import asyncio
import gc

from kb.core.lifespan import Lifespan, collect_seldom


async def serve(application: Lifespan, scope: dict[str, object]) -> list[str]:
    sent: list[str] = []
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, object]:
        return next(asked)

    async def send(message: dict[str, object]) -> None:
        sent.append(str(message["type"]))

    await application(scope, receive, send)
    return sent


async def inner(scope, receive, send) -> None:
    await send({"type": f"inner {scope['type']}"})


def test_it_begins_once_with_the_server() -> None:
    begun: list[int] = []
    application = Lifespan(inner, [lambda: begun.append(1), lambda: begun.append(2)])
    said = asyncio.run(serve(application, {"type": "lifespan"}))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert begun == [1, 2]


def test_what_is_asked_goes_through_and_begins_nothing() -> None:
    begun: list[int] = []
    application = Lifespan(inner, [lambda: begun.append(1), lambda: begun.append(2)])
    assert asyncio.run(serve(application, {"type": "http"})) == ["inner http"]
    assert begun == []


def test_the_collector_looks_seldom_but_does() -> None:
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > 10 * before[0]
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
