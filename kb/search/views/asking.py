"""Asking: the page, and the answer as a stream of server-sent events."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from kb.core.models import Collection, Reader
from kb.core.problems import Problem
from kb.documents.models import Document
from kb.search.answers import Completed, Event, Started, ask
from kb.search.arranging import Row
from kb.search.async_bridge import stream
from kb.search.forms import QuestionForm
from kb.search.models import Query
from kb.search.views.setting import Found, below, found, passage_url, reply
from retrieval.answering import Cited, TextDelta
from retrieval.evidence import Passage

logger = logging.getLogger(__name__)

RECENT = 5


@never_cache
def asking(request: HttpRequest) -> HttpResponse:
    """The question box; a question sent without JavaScript is answered here, all at once."""
    form = QuestionForm(request.user, request.POST or request.GET or None)
    problem: Problem | None = None
    if request.method == "POST" and form.is_valid():
        try:
            return answered(request, form)
        except Problem as refused:
            problem = refused
    context = page_context(request.user, form) | {"problem": problem}
    status = problem.status if problem else 400 if request.method == "POST" else 200
    return render(request, "search/ask.html", context, status=status)


def answered(request: HttpRequest, form: QuestionForm) -> HttpResponse:
    """Asks, and goes to the stored answer; a declined one is shown at once, with what is closest."""
    shown: list[Found] = []
    sources: dict[int, Row] = {}
    for event in ask(request.user, form.cleaned_data["q"], form.slugs()):
        if isinstance(event, Started):
            sources = event.results.sources
        elif isinstance(event, Completed):
            if not event.closest:
                return redirect("answer", event.answer.pk)
            shown = found(event.closest, sources.values(), form.cleaned_data["q"])
            context = page_context(request.user, form) | reply_context(request.user, event, shown)
            return render(request, "search/ask.html", context)
    raise Problem("unavailable", "The answer did not arrive: ask again.", 503)


def page_context(reader: Reader, form: QuestionForm) -> dict[str, Any]:
    """What the page shows around the question: where to look, what was asked before, what is missing."""
    collections = list(form.collections)
    documents = Document.objects.filter(collection__in=collections)
    recent = Query.objects.visible_to(reader).filter(kind=Query.Kind.ASK, answer__isnull=False)
    if reader.is_authenticated:
        recent = recent.filter(user=reader)
    return {
        "section": "ask",
        "form": form,
        "collections": collections,
        "empty": empty_because(collections, documents.exists()),
        "recent": recent.select_related("answer")[:RECENT],
    }


def empty_because(collections: list[Collection], documents: bool) -> str:
    if not collections:
        return "no_collections"
    return "" if documents else "no_documents"


def reply_context(reader: Reader, event: Completed, closest: list[Found]) -> dict[str, Any]:
    return {"reply": reply(reader, event.answer), "closest": closest, "empty": ""}


@never_cache
@require_POST
async def ask_stream(request: HttpRequest) -> HttpResponseBase:
    """The answer as events: started, delta, cited, at last completed or problem; comments as heartbeats."""
    user = await request.auser()
    slugs = [slug for slug in request.POST.getlist("collection") if slug]
    events = answer_events(request, user, request.POST.get("q", ""), slugs)
    # The session was read in this request's thread, which needs no database while the answer streams.
    await sync_to_async(close_old_connections)()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=headers)


async def answer_events(
    request: HttpRequest, user: Reader, question: str, slugs: list[str]
) -> AsyncIterator[str]:
    writer = EventWriter(request, user, question)
    try:
        async with aclosing(stream(partial(ask, user, question, slugs or None))) as events:  # type: ignore[type-var]
            async for event in events:
                yield ": still here\n\n" if event is None else await writer.write(event)
    except Problem as problem:
        yield framed("problem", {"code": problem.code, "message": problem.message})
    except Exception:
        logger.exception("An answer failed")
        message = "Something broke while answering, and was written to the log. Ask again in a moment."
        yield framed("problem", {"code": "internal", "message": message})


def framed(name: str, data: dict[str, Any]) -> str:
    """One server-sent event; JSON has no line ends of its own, so the frame is safe."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


class EventWriter:
    """Turns an answer's events into server-sent ones."""

    def __init__(self, request: HttpRequest, user: Reader, question: str) -> None:
        self.request = request
        self.user = user
        self.question = question
        self.sources: dict[int, Row] = {}

    async def write(self, event: Event) -> str:
        match event:
            case Started(results):
                self.sources = results.sources
                return framed("started", {"passages": len(results.passages), "degraded": results.degraded})
            case TextDelta(text):
                return framed("delta", {"text": text})
            case Cited():
                return framed(
                    "cited", cited_data(event.marker, event.passage, event.start, event.end, event.quote)
                )
            case Completed():
                return framed("completed", await sync_to_async(self.completed)(event))

    def completed(self, event: Completed) -> dict[str, Any]:
        """The finished answer as the page of its own would show it."""
        closest = found(event.closest, self.sources.values(), self.question)
        context = reply_context(self.user, event, closest)
        return {
            "state": event.answer.state,
            "url": reverse("answer", args=[event.answer.pk]),
            "html": render_to_string("search/_reply.html", context, self.request),
            "sources": len(context["reply"].sources),
        }


def cited_data(marker: int, passage: Passage, start: int, end: int, quote: str) -> dict[str, Any]:
    return {
        "marker": marker,
        "title": passage.title,
        "page": passage.page,
        "headings": list(below(passage.title, passage.heading_path)),
        "quote": quote,
        "href": passage_url(passage.document_id, start, end),
    }
