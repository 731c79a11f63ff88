"""Every error of the API as application/problem+json (RFC 9457)."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

import psycopg
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from kb.core.problems import Problem, is_full, not_stored

logger = logging.getLogger(__name__)

CODES = {400: "bad_request", 401: "unauthenticated", 403: "forbidden", 404: "not_found"}
REFUSALS: Mapping[type[Exception], Problem] = {
    Http404: Problem("not_found", "There is nothing at this address.", 404),
    PermissionDenied: Problem("forbidden", "You may not do this.", 403),
    RequestDataTooBig: Problem("too_large", "The request is larger than is taken.", 413),
    SuspiciousOperation: Problem("bad_request", "The request cannot be understood."),
    MultiPartParserError: Problem("bad_request", "The form cannot be read: send multipart/form-data."),
    DataError: Problem("invalid", "A value holds characters or numbers that cannot be stored.", 422),
    UnicodeEncodeError: Problem("invalid", "A text holds characters that are not valid Unicode.", 422),
    OperationalError: Problem("unavailable", "The database does not answer: try again in a moment.", 503),
    InterfaceError: Problem("unavailable", "The database does not answer: try again in a moment.", 503),
    psycopg.OperationalError: Problem(
        "unavailable", "The database does not answer: try again in a moment.", 503
    ),
}


def body(problem: Problem) -> dict[str, object]:
    """The problem's members; `extra` stands beside the standard ones, which it cannot replace."""
    return problem.extra | {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.message,
        "code": problem.code,
    }


def respond(problem: Problem) -> HttpResponse:
    text = json.dumps(body(problem), cls=DjangoJSONEncoder)
    response = HttpResponse(text, status=problem.status, content_type="application/problem+json")
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="Footnote"'
    if "retry_after" in problem.extra:
        response["Retry-After"] = str(problem.extra["retry_after"])
    return response


def from_http_error(error: HttpError) -> Problem:
    message = str(error)
    if message == "Unauthorized":
        message = "Sign in, or send an API key as `Authorization: Bearer fn_…`."
    return Problem(CODES.get(error.status_code, "refused"), message, error.status_code)


def from_validation(error: ValidationError) -> Problem:
    """Each wrong value as `field` (where it stands) and `message`, and all of them as one sentence."""
    errors = [
        {"field": ".".join(str(part) for part in found["loc"][1:]) or "body", "message": found["msg"]}
        for found in error.errors
    ]
    sentence = "; ".join(f"{found['field']}: {found['message']}" for found in errors)
    return Problem("invalid", f"{sentence}.", 422, errors=errors)


def from_any(error: Exception) -> Problem:
    """What the asker may know of an error; the log has the rest."""
    match error:
        case Problem():
            return error
        case HttpError():
            return from_http_error(error)
        case ValidationError():
            return from_validation(error)
    if isinstance(error, OSError) and is_full(error):  # such as when the form with the file arrives
        logger.error("What was sent could not be stored", exc_info=error)
        return not_stored(error)
    for kind in type(error).__mro__:
        if kind in REFUSALS:
            return REFUSALS[kind]
    logger.error("A request to the API failed", exc_info=error)
    return Problem("internal", "Something went wrong here; the log of the server tells what.", 500)


def answer_error(_request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    return respond(from_any(error if isinstance(error, Exception) else error()))


def install(api: NinjaAPI) -> None:
    """Makes the API answer with problems only."""
    # ninja has handlers of its own for these kinds, which are replaced.
    for kind in (HttpError, ValidationError, Http404, Exception):
        api.add_exception_handler(kind, answer_error)
