"""A request goes through Django in one thread, which is kept; who leaves ends what is at work for them."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core import signals
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path

from kb.core.handler import OneThread

seen: list[str] = []


def where(request: HttpRequest) -> HttpResponse:
    seen.append(threading.current_thread().name)
    return HttpResponse(request.get_full_path())


async def waiting(request: HttpRequest) -> HttpResponse:
    seen.append("waits")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
    return HttpResponse("never")


async def streaming(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> Any:
        yield "one "
        yield "two"

    return StreamingHttpResponse(parts())


def failing(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


urlpatterns = [
    path("where", where),
    path("waiting", waiting),
    path("streaming", streaming),
    path("failing", failing),
    path("", include("kb.urls")),
]


@pytest.fixture(autouse=True)
def _views(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    seen.clear()


async def asked(
    handler: OneThread, address: str, gone: Callable[[], bool] = lambda: False
) -> tuple[int, bytes]:
    """Status and body; the client leaves as soon as `gone()`."""
    sent: list[dict[str, Any]] = []
    took: list[int] = []

    async def receive() -> dict[str, Any]:
        if not took:
            took.append(1)
            return {"type": "http.request", "body": b"", "more_body": False}
        while not gone():
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "method": "GET",
        "path": address,
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }
    await handler(scope, receive, send)
    status = next((message["status"] for message in sent if "status" in message), 0)
    return status, b"".join(message.get("body", b"") for message in sent)


def test_requests_share_a_thread_that_is_kept() -> None:
    async def two() -> list[tuple[int, bytes]]:
        handler = OneThread()
        return [await asked(handler, "/where"), await asked(handler, "/where")]

    assert asyncio.run(two()) == [(200, b"/where"), (200, b"/where")]
    assert len(set(seen)) == 1
    assert seen[0].startswith("request")


def test_what_begins_and_ends_with_a_request_is_told_in_its_thread() -> None:
    told: list[tuple[str, str]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda **_: told.append((name, threading.current_thread().name))

    began, ended = note("began"), note("ended")
    signals.request_started.connect(began, weak=False)
    signals.request_finished.connect(ended, weak=False)
    try:
        asyncio.run(asked(OneThread(), "/where"))
    finally:
        signals.request_started.disconnect(began)
        signals.request_finished.disconnect(ended)
    assert told == [("began", seen[0]), ("ended", seen[0])]


def test_a_stream_is_sent_part_by_part() -> None:
    assert asyncio.run(asked(OneThread(), "/streaming")) == (200, b"one two")


def test_who_leaves_ends_what_is_at_work() -> None:
    asyncio.run(asyncio.wait_for(asked(OneThread(), "/waiting", gone=lambda: bool(seen)), 10))
    assert seen == ["waits", "cancelled"]


def test_an_error_is_answered(settings: Any) -> None:
    settings.DEBUG_PROPAGATE_EXCEPTIONS = False
    status, _ = asyncio.run(asked(OneThread(), "/failing"))
    assert status == 500
