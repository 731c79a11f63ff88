"""What has failed, grouped by cause, with what helps; of all that a reader may see, a collection or an upload."""

from collections.abc import Iterable
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from kb.core.models import Collection
from kb.core.problems import Problem
from kb.core.views import person
from kb.documents import actions, failures
from kb.documents.models import Document
from kb.documents.views.access import (
    editable_collection,
    editable_upload,
    listing,
    visible_collection,
    visible_upload,
)
from kb.documents.views.whole import Whole, whole_of


@require_safe
def all_failures(request: HttpRequest) -> HttpResponse:
    return page(request, listing(request.user))


@require_safe
def collection_failures(request: HttpRequest, slug: str) -> HttpResponse:
    collection = visible_collection(request, slug)
    return page(request, listing(request.user).filter(collection=collection), whole_of(collection))


@require_safe
def uploaded_failures(request: HttpRequest, pk: UUID) -> HttpResponse:
    upload = visible_upload(request, pk)
    return page(request, listing(request.user).filter(upload=upload), whole_of(upload))


def page(request: HttpRequest, documents: QuerySet[Document], whole: Whole | None = None) -> HttpResponse:
    failed = documents.filter(state=Document.State.FAILED)
    editable = Collection.objects.editable_by(request.user)
    context = {
        "section": "library",
        "whole": whole,
        "groups": [(group, group.count - len(group.sample)) for group in failures.groups(documents)],
        "editable": set(editable.filter(pk__in=failed.values("collection")).values_list("pk", flat=True)),
        "retry": whole.url("failures-retry") if whole else reverse("failures-retry"),
    }
    return render(request, "documents/failures.html", context)


@login_required
@require_POST
def retry_all(request: HttpRequest) -> HttpResponse:
    """Takes up what failed for one cause (`code`), wherever the person may change it."""
    failed = Document.objects.filter(state=Document.State.FAILED, error_code=request.POST.get("code", ""))
    collections = Collection.objects.editable_by(request.user).filter(pk__in=failed.values("collection"))
    return taken_up(request, collections, "failures")


@login_required
@require_POST
def retry_collection(request: HttpRequest, slug: str) -> HttpResponse:
    return taken_up(request, [editable_collection(request, slug)], "collection-failures", slug)


@login_required
@require_POST
def retry_uploaded(request: HttpRequest, pk: UUID) -> HttpResponse:
    return taken_up(request, [editable_upload(request, pk)], "uploaded-failures", pk)


def taken_up(
    request: HttpRequest, scopes: Iterable[actions.Scope], name: str, *key: str | UUID
) -> HttpResponse:
    code = request.POST.get("code", "")
    try:
        count = sum(actions.retry_failed(person(request), scope, code) for scope in scopes)
    except Problem as problem:
        messages.error(request, problem.message)
    else:
        messages.success(request, f"Taken up again: {count:,} document{'' if count == 1 else 's'}.")
    return redirect(name, *key)
