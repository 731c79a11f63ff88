"""Pages that put documents in, replace, retry and delete them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from kb.core.models import User
from kb.core.problems import Problem
from kb.core.views import person
from kb.documents import actions
from kb.documents.forms import UploadForm
from kb.documents.models import Document
from kb.documents.views.access import editable_document, idle_workers
from retrieval.loading import SUFFIXES


@login_required
def upload(request: HttpRequest) -> HttpResponse:
    """Files by form, many at once; the page's script sends them one by one and reads JSON."""
    user = person(request)
    form = UploadForm(user, request.POST or None, initial={"collection": request.GET.get("collection")})
    if request.method == "POST" and wants_json(request):
        return upload_one(request, user, form)
    files = request.FILES.getlist("files")
    if request.method == "POST" and form.is_valid():
        if files:
            taken = [document for file in files if (document := reported(request, user, form, file))]
            if taken:
                return redirect("collection", form.cleaned_data["collection"].slug)
        else:
            form.add_error(None, "Choose at least one file.")
    context = {
        "section": "upload",
        "form": form,
        "suffixes": sorted(SUFFIXES),
        "most_bytes": settings.MAX_UPLOAD_BYTES,
        "most_megabytes": settings.MAX_UPLOAD_BYTES // 1024**2,
        "idle": idle_workers(),
    }
    return render(request, "documents/upload.html", context, status=400 if request.method == "POST" else 200)


def wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def upload_one(request: HttpRequest, user: User, form: UploadForm) -> HttpResponse:
    files = request.FILES.getlist("files")
    if not form.is_valid() or len(files) != 1:
        message = (
            " ".join(str(said) for found in form.errors.values() for said in found)
            or "Send one file at a time."
        )
        return JsonResponse({"problem": message}, status=400)
    try:
        added = actions.add_document(
            user, form.cleaned_data["collection"], files[0], request.POST.get("filename")
        )
    except Problem as problem:
        return JsonResponse({"problem": problem.message, "code": problem.code}, status=problem.status)
    return JsonResponse(
        {
            "id": str(added.document.pk),
            "created": added.created,
            "url": reverse("document", args=[added.document.pk]),
        },
        status=201 if added.created else 200,
    )


def reported(request: HttpRequest, user: User, form: UploadForm, file: UploadedFile[Any]) -> Document | None:
    """Adds one file of several, and says what became of it."""
    try:
        added = actions.add_document(user, form.cleaned_data["collection"], file)
    except Problem as problem:
        messages.error(request, f"{file.name}: {problem.message}")
        return None
    said = "is being read." if added.created else "was here already, with the very same content."
    messages.success(request, f"{file.name} {said}")
    return added.document


@login_required
def document_replace(request: HttpRequest, pk: UUID) -> HttpResponse:
    document = editable_document(request, pk)
    problem = ""
    if request.method == "POST":
        try:
            actions.replace_document(person(request), document, chosen_file(request))
        except Problem as refused:
            problem = refused.message
        else:
            messages.success(
                request, "The new file is being read. Until it is ready, the old text goes on answering."
            )
            return redirect("document", document.pk)
    context = {"section": "library", "document": document, "problem": problem, "suffixes": sorted(SUFFIXES)}
    return render(request, "documents/replace.html", context, status=400 if problem else 200)


def chosen_file(request: HttpRequest) -> UploadedFile[Any]:
    file = request.FILES.get("file")
    if file is None:
        raise Problem("no_file", "Choose a file.", field="file")
    return file


@login_required
def document_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    document = editable_document(request, pk)
    if request.method == "POST":
        actions.delete_document(person(request), document)
        messages.success(request, f"“{document.title}” is deleted. It is gone from answers and searches.")
        return redirect("collection", document.collection.slug)
    return render(request, "documents/delete.html", {"section": "library", "document": document})


@login_required
@require_POST
def document_retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    return taken_up(request, pk, actions.retry_document)


@login_required
@require_POST
def document_reparse(request: HttpRequest, pk: UUID) -> HttpResponse:
    return taken_up(request, pk, actions.reparse_document)


def taken_up(request: HttpRequest, pk: UUID, action: Callable[[User, Document], Document]) -> HttpResponse:
    document = editable_document(request, pk)
    try:
        action(person(request), document)
    except Problem as problem:
        messages.error(request, problem.message)
    else:
        messages.success(request, f"“{document.title}” is taken up again.")
    return redirect(way_back(request) or reverse("document", args=[document.pk]))


def way_back(request: HttpRequest) -> str:
    """The page that the form came from, if it is one of ours."""
    target = request.POST.get("next", "")
    return target if url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}) else ""
