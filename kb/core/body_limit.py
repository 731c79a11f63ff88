"""Refuses requests that are too large before Django stores them: it takes in a whole body, then asks who sent it."""

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from django.conf import settings

from kb.core import problem_json
from kb.core.problems import Problem, is_full, not_stored

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
ORDINARY_BYTES = 2 * MEGABYTE
# What a form has around its file.
FORM_BYTES = MEGABYTE
MOST_FILES_AT_ONCE = 20
SEVERAL_FILES = re.compile(r"/upload/|/api/v1/collections/[^/]+/documents|/admin/documents/document/add/")
ONE_FILE = re.compile(r"(/admin/documents/document|/documents)/[^/]+/replace/|/api/v1/documents/[^/]+")


class BodyLimit:
    """An ASGI application around another one; what is no HTTP request passes through."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        most = most_bytes(scope["path"])
        if announced(scope) > most:
            await refuse(scope["path"], most, send)
            return
        counted = Counted(receive, most)
        try:
            await self.application(scope, counted, send)
        except OSError as error:
            if not is_full(error):
                raise
            # Django keeps a body in a file before it looks at it, so nothing was answered yet.
            logger.exception("What was sent could not be stored")
            await answer(scope["path"], not_stored(error), send)
            return
        if counted.exceeded:
            await refuse(scope["path"], most, send)


class Counted:
    """A `receive` that tells of a disconnect in place of what is too much.

    Django answers nothing to who has gone, so the refusal can be sent once it has returned.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive = receive
        self.left = most

    @property
    def exceeded(self) -> bool:
        return self.left < 0

    async def __call__(self) -> Message:
        if not self.exceeded:
            message = await self.receive()
            self.left -= len(message.get("body", b""))
            if not self.exceeded:
                return message
        return {"type": "http.disconnect"}


def most_bytes(path: str) -> int:
    """How large a request to this path may be; a single file that is too large gets its own words later."""
    if SEVERAL_FILES.fullmatch(path):
        return int(settings.MAX_UPLOAD_BYTES) * MOST_FILES_AT_ONCE
    if ONE_FILE.fullmatch(path):
        return int(settings.MAX_UPLOAD_BYTES) + FORM_BYTES
    return ORDINARY_BYTES


def announced(scope: Scope) -> int:
    """The request's Content-Length; 0 where there is none, or none that is a number: then what comes is counted."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() and len(length) < 20 else 0


async def refuse(path: str, most: int, send: Send) -> None:
    message = f"The request is larger than {most // MEGABYTE} MB, the most that is taken here."
    await answer(path, Problem("too_large", message, 413), send)


async def answer(path: str, problem: Problem, send: Send) -> None:
    if path.startswith("/api/"):
        kind, content = b"application/problem+json", json.dumps(problem_json.body(problem)).encode()
    else:
        kind, content = b"text/plain; charset=utf-8", problem.message.encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
