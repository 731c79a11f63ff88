"""A request that is too large ends before its body is stored; every other one passes."""

import asyncio
import errno
import json
import os

import pytest

from kb.asgi import application
from kb.core.body_limit import MEGABYTE, BodyLimit, most_bytes

PAPERS = "/api/v1/collections/papers"


class Inner:
    """An application that reads the whole body as Django does, and answers in two parts."""

    def __init__(self):
        self.read = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await send({"type": f"{scope['type']}.seen"})
            return
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.read += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})


def asked(app, path, megabytes=0, length=None, kind="http"):
    """What is sent back for a body of so many megabytes."""
    sent = []
    messages = [
        {"type": "http.request", "body": bytes(MEGABYTE), "more_body": True} for _ in range(megabytes)
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": kind, "method": "POST", "path": path, "headers": headers, "query_string": b""}
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize(("path", "files"), [
    ("/", 0), ("/login/", 0), (PAPERS, 0), ("/api/v1/documents/", 0), ("/upload/more/", 0),
    ("/upload/", 20), (f"{PAPERS}/documents", 20), ("/admin/documents/document/add/", 20),
    ("/documents/1/replace/", 1), ("/api/v1/documents/1", 1),
])  # fmt: skip
def test_how_much_is_taken_where(settings, path, files):
    settings.MAX_UPLOAD_BYTES = 10 * MEGABYTE
    assert most_bytes(path) == {0: 2, 1: 11, 20: 200}[files] * MEGABYTE


@pytest.mark.parametrize("announced", [{"length": 2 * MEGABYTE + 1}, {"megabytes": 3}, {"megabytes": 50}])
@pytest.mark.parametrize(("path", "kind"), [
    ("/login/", b"text/plain; charset=utf-8"), ("/api/v1/search", b"application/problem+json"),
])  # fmt: skip
def test_too_much_is_refused(path, kind, announced):
    inner = Inner()
    start, body = asked(BodyLimit(inner), path, **announced)
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (413, kind)
    assert b"larger than 2 MB" in body["body"]
    assert inner.read <= 2 * MEGABYTE
    if kind == b"application/problem+json":
        assert json.loads(body["body"])["code"] == "too_large"


@pytest.mark.parametrize("length", [None, 2 * MEGABYTE, "x"])
def test_what_is_not_too_much_passes_with_its_streamed_answer(length):
    inner = Inner()
    sent = asked(BodyLimit(inner), "/login/", 2, length)
    assert [message.get("body") for message in sent] == [None, b"a", b"b"]
    assert inner.read == 2 * MEGABYTE


def test_what_is_no_request_passes():
    assert asked(BodyLimit(Inner()), "", kind="lifespan") == [{"type": "lifespan.seen"}]


def test_the_site_refuses_before_it_reads():
    assert asked(application, "/api/v1/search", 3)[0]["status"] == 413


@pytest.mark.parametrize("path", ["/upload/", f"{PAPERS}/documents"])
def test_a_disk_that_does_not_take_the_body_is_told(path):
    async def full(scope, receive, send):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    start, body = asked(BodyLimit(full), path, megabytes=1)
    assert start["status"] == 507
    assert b"No space left on device" in body["body"]


def test_another_error_goes_on():
    async def broken(scope, receive, send):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output error"):
        asked(BodyLimit(broken), "/upload/")
