"""Search, ask (as one JSON object or as server-sent events), and stored answers."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, TypeAlias, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from ninja import Query as QueryString
from ninja import Router

from kb.core import problem_json
from kb.core.authentication import ASK, READ, READ_OR_ASK, Request, signed_in
from kb.core.models import APIKey, Reader
from kb.core.problems import Problem, not_found
from kb.search import answers, engine
from kb.search.answers import Completed, Event, ShownAnswer, Started
from kb.search.async_bridge import stream
from kb.search.models import Answer, Query, RetrievalProfile
from kb.search.profiles import may_choose
from kb.search.schemas import (
    AnswerOut,
    AskIn,
    NewAnswerOut,
    PassageOut,
    ProfileOut,
    SearchAddress,
    SearchIn,
    SearchOut,
)
from retrieval.answering import Cited, TextDelta
from retrieval.evidence import Passage

router = Router(tags=["Search and ask"])


@dataclass(frozen=True)
class Made:
    """The answer as its asker may see it."""

    answer: ShownAnswer
    closest: tuple[Passage, ...]


Step: TypeAlias = Started | TextDelta | Cited | Made
Events: TypeAlias = AsyncGenerator[Step | None, None]

EVENTS = {
    "responses": {
        200: {
            "content": {
                "text/event-stream": {
                    "schema": {
                        "type": "string",
                        "description": "Events `started` (query_id, passages, degraded), `text` (text), "
                        "`citation` (marker, document_id, title, page, start, end, quote), at last `answer` "
                        "(as in JSON) or `problem`; comments keep the connection open.",
                    }
                }
            }
        }
    }
}


@router.post("/search", auth=READ, response=SearchOut, operation_id="search")
def search(request: Request, body: SearchIn) -> engine.Results:
    """The passages that match best, in what you may see."""
    return engine.search(
        request.auth,
        body.query,
        body.collections,
        body.limit,
        profile=body.profile,
        explain=body.explain,
        as_typed=body.as_typed,
    )


@router.get("/search", auth=READ, response=SearchOut, operation_id="search_by_address")
def search_by_address(request: Request, which: QueryString[SearchAddress]) -> engine.Results:
    """The same by GET; `collection` may be given several times."""
    return engine.search(
        request.auth,
        which.q,
        which.collection,
        which.limit,
        profile=which.profile,
        explain=which.explain,
        as_typed=which.as_typed,
    )


@router.get(
    "/retrieval-profiles",
    auth=signed_in(APIKey.Scope.READ),
    response=list[ProfileOut],
    operation_id="list_retrieval_profiles",
)
def list_profiles(request: Request) -> QuerySet[RetrievalProfile]:
    """Every version of every retrieval profile, newest first; for those who may look at them."""
    if not may_choose(request.auth):
        raise Problem("forbidden", "Only administrators look at the retrieval profiles.", 403)
    return RetrievalProfile.objects.order_by("name", "-number")


@router.post("/ask", auth=ASK, response=NewAnswerOut, operation_id="ask", openapi_extra=EVENTS)
async def ask(request: Request, body: AskIn) -> HttpResponseBase | dict[str, Any]:
    """An answer in which every claim carries a footnote.

    One JSON object, or server-sent events while it is made where `Accept` asks for `text/event-stream`.
    Closing the connection stops the work.
    """
    reader = request.auth
    # Who asks was read in this request's thread, which needs no database while the answer is made.
    await sync_to_async(close_old_connections)()
    events = cast(Events, stream(lambda: asking(reader, body)))
    if wants_events(request):
        # A refused question is refused with its own status: the stream begins once the passages are found.
        async for first in events:
            if first is not None:
                return event_stream(first, events)
    return await completed(events)


def asking(reader: Reader, body: AskIn) -> Iterator[Step]:
    """The events of an answer, the last one as its reader may see it; all database work is done in here."""
    with closing(cast(Generator[Event], answers.ask(reader, body.question, body.collections))) as events:
        for event in events:
            yield (
                Made(answers.shown_to(reader, event.answer), event.closest)
                if isinstance(event, Completed)
                else event
            )


def wants_events(request: HttpRequest) -> bool:
    preferred = request.get_preferred_type(["application/json", "text/event-stream"])
    return preferred == "text/event-stream"


async def completed(events: Events) -> dict[str, Any]:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Made):
                return new_answer(event)
    raise Problem("unavailable", "The answer was interrupted: ask again.", 503)


def new_answer(made: Made) -> dict[str, Any]:
    passages = [PassageOut.model_validate(passage).model_dump(mode="json") for passage in made.closest]
    return AnswerOut.from_orm(made.answer).model_dump(mode="json") | {"closest": passages}


def event_stream(first: Step, events: Events) -> StreamingHttpResponse:
    response = StreamingHttpResponse(frames(first, events), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    # nginx collects replies unless it is told not to.
    response["X-Accel-Buffering"] = "no"
    return response


async def frames(first: Step, events: Events) -> AsyncIterator[str]:
    """The events as text; a heartbeat is a comment, and an error the last event."""
    async with aclosing(events):
        try:
            yield frame(first)
            async for event in events:
                yield ": still here\n\n" if event is None else frame(event)
        except Exception as error:  # noqa: BLE001 (the reply has begun: its reader is told, the log has the rest)
            yield written("problem", problem_json.body(problem_json.from_any(error)))


def frame(event: Step) -> str:
    match event:
        case Started(results):
            return written("started", SearchOut.from_orm(results).model_dump(mode="json"))
        case TextDelta(text):
            return written("text", {"text": text})
        case Cited():
            return written("citation", citation(event))
        case Made():
            return written("answer", new_answer(event))


def citation(cited: Cited) -> dict[str, Any]:
    return {
        "marker": cited.marker,
        "document_id": cited.passage.document_id,
        "title": cited.passage.title,
        "page": cited.passage.page,
        "start": cited.start,
        "end": cited.end,
        "quote": cited.quote,
    }


def written(name: str, body: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"


@router.get("/answers/{uuid:answer_id}", auth=READ_OR_ASK, response=AnswerOut, operation_id="get_answer")
def get_answer(request: Request, answer_id: UUID) -> ShownAnswer:
    """One of your own answers, as you may see it now."""
    mine = Query.objects.visible_to(request.auth)
    answer = Answer.objects.select_related("query").filter(pk=answer_id, query__in=mine).first()
    if answer is None:
        raise not_found("answer")
    return answers.shown_to(request.auth, answer)
