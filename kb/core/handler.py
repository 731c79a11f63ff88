"""How a request gets through Django in the web server."""

from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponseBase


class OneThread(ASGIHandler):
    """Runs a request's middleware and view in its thread, one after the other; an asynchronous view as it is.

    Django would go from the thread to the event loop and back for each middleware that is not asynchronous, and once
    more for the view, which took milliseconds.
    """

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002  # Django's handler asks for True
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        answer: Any = sync_to_async(self.get_response)
        response: HttpResponseBase = await answer(request)
        return response
