"""What begins with the server, begins with it alone."""

import asyncio

from kb.core.lifespan import Lifespan


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
