"""How a request gets through Django in the web server: in one piece, in one thread."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from asgiref.sync import SyncToAsync
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.http import FileResponse, HttpResponseBase
from django.urls import set_script_prefix

from kb.core.body_limit import Receive, Scope, Send

MOST_AT_ONCE = 100  # requests; an answer that is being written takes one of these, too


class OneThread(ASGIHandler):
    """Runs all that belongs to a request in a thread that is kept for the next; an asynchronous view as it is.

    Django's own handler starts a thread for each request and goes between it and the event loop for what begins, for
    each middleware that is not asynchronous, for the view and for what ends, which took longer than most views.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="request")

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002  # Django's handler asks for True
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the protocol has it, for HTTP."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            request, refused = self.create_request(scope, body)
            if refused is not None:
                await self.send_response(refused, send)
            if request is not None:
                await self.until_gone(self.answer(scope, request, send), receive)
        finally:
            body.close()

    async def until_gone(self, answering: Any, receive: Receive) -> None:
        """Waits for the answer; if the client goes first, what is still at work on it is cancelled."""
        answer = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(receive())
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, answer):
            if not task.done():
                task.cancel()
        with suppress(asyncio.CancelledError):
            await answer
        with suppress(asyncio.CancelledError):
            await gone

    async def answer(self, scope: Scope, request: ASGIRequest, send: Send) -> None:
        in_thread: Any = SyncToAsync(self.respond, thread_sensitive=False, executor=self.threads)
        response: HttpResponseBase = await in_thread(scope, request)
        try:
            await self.send_response(response, send)
        finally:
            if response.streaming:
                close: Any = SyncToAsync(response.close, thread_sensitive=False, executor=self.threads)
                await asyncio.shield(close())

    def respond(self, scope: Scope, request: ASGIRequest) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        response = self.get_response(request)
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        if not response.streaming:
            response.close()  # which gives the database connection back; the content stays
        return response
