"""What may be done to work: pause, resume, cancel, take up again, read again; of one document or of many."""

from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.core.views import person
from kb.documents import actions
from kb.documents.models import Document, Upload
from kb.documents.views.access import editable_collection, editable_document, editable_upload, way_back

Scope: TypeAlias = Document | Upload | Collection


def pause(actor: User, scope: Scope) -> str:
    count = actions.pause(actor, scope)
    return f"Paused: {documents(count)} of “{scope}”. What is done so far is kept."


def resume(actor: User, scope: Scope) -> str:
    count = actions.resume(actor, scope)
    return f"“{scope}” goes on with {documents(count)}." if count else f"“{scope}” goes on."


def cancel(actor: User, scope: Scope) -> str:
    count = actions.cancel(actor, scope)
    return f"Cancelled: the work on {documents(count)} of “{scope}”. The files are kept and can be taken up again."


def retry(actor: User, scope: Scope) -> str:
    count = actions.retry_failed(actor, scope)
    return f"Taken up again: {documents(count)} of “{scope}”."


def reparse(actor: User, scope: Scope) -> str:
    if isinstance(scope, Document):
        actions.reparse_document(actor, scope)
        return f"“{scope}” is read again."
    count = actions.reparse(actor, scope)
    return f"Read again: {documents(count)} of “{scope}”. The texts from before answer until then."


def documents(count: int) -> str:
    return "1 document" if count == 1 else f"{count:,} documents"


VERBS: dict[str, Callable[[User, Scope], str]] = {
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "retry": retry,
    "reparse": reparse,
}


@login_required
@require_POST
def document(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    return done(request, editable_document(request, pk), verb, reverse("document", args=[pk]))


@login_required
@require_POST
def upload(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    return done(request, editable_upload(request, pk), verb, reverse("uploaded", args=[pk]))


@login_required
@require_POST
def collection(request: HttpRequest, slug: str, verb: str) -> HttpResponse:
    return done(request, editable_collection(request, slug), verb, reverse("collection", args=[slug]))


def done(request: HttpRequest, scope: Scope, verb: str, page: str) -> HttpResponse:
    """Does it, says so or why not, and leads back to where the button was."""
    try:
        said = VERBS[verb](person(request), scope)
    except Problem as problem:
        messages.error(request, problem.message)
    else:
        messages.success(request, said)
    return redirect(way_back(request) or page)
