"""Pages that put documents in, replace, retry and delete them."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from kb.core.models import User
from kb.core.problems import Problem
from kb.core.views import person
from kb.documents import actions
from kb.documents.adding import READABLE
from kb.documents.forms import MoveForm, TagsForm, UploadForm
from kb.documents.models import Upload
from kb.documents.move_actions import move_document
from kb.documents.views.access import editable_document, idle_workers


@login_required
def upload(request: HttpRequest) -> HttpResponse:
    """Files by form, many at once; the page's script sends them one by one and reads JSON."""
    user = person(request)
    form = UploadForm(user, request.POST or None, initial={"collection": request.GET.get("collection")})
    if request.method == "POST" and wants_json(request):
        return upload_one(request, user, form)
    files = request.FILES.getlist("files")
    if request.method == "POST" and form.is_valid():
        if not files:
            form.add_error(None, "Choose at least one file.")
        elif page := upload_all(request, form, files):
            return redirect(page)
    context = {
        "section": "upload",
        "form": form,
        "suffixes": sorted(READABLE),
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
        return JsonResponse({"problem": form.said() or "Send one file at a time."}, status=400)
    collection = form.cleaned_data["collection"]
    try:
        actions.must_have_room(user, collection)
        added = actions.add_document(
            user,
            collection,
            files[0],
            request.POST.get("filename"),
            form.cleaned_data["upload"],
            tags=form.cleaned_data["tags"],
        )
    except Problem as problem:
        answer = {
            "problem": problem.message,
            "code": problem.code,
            "seconds": problem.extra.get("retry_after"),
        }
        return JsonResponse(answer, status=problem.status)
    return JsonResponse(
        {
            "id": str(added.document.pk),
            "created": added.created,
            "url": reverse("document", args=[added.document.pk]),
        },
        status=201 if added.created else 200,
    )


def upload_all(request: HttpRequest, form: UploadForm, files: list[UploadedFile[Any]]) -> str:
    """Adds the files as one upload and says what became of each.

    Returns the page to go to: the collection's if it held all of them before, none if no file was taken.
    """
    collection, tags = form.cleaned_data["collection"], form.cleaned_data["tags"]
    try:
        actions.must_have_room(person(request), collection)
    except Problem as problem:
        form.add_error(None, problem.message)
        return ""
    opened = actions.open_upload(person(request), collection, Upload.Origin.PAGE)
    taken = [added for file in files if (added := reported(request, opened, file, tags))]
    if any(added.created for added in taken):
        return reverse("uploaded", args=[opened.pk])
    return reverse("collection", args=[collection.slug]) if taken else ""


def reported(
    request: HttpRequest, opened: Upload, file: UploadedFile[Any], tags: list[str]
) -> actions.Added | None:
    """Adds one file of several, and says what became of it."""
    try:
        added = actions.add_document(person(request), opened.collection, file, upload=opened, tags=tags)
    except Problem as problem:
        messages.error(request, f"{file.name}: {problem.message}")
        return None
    said = "is being read." if added.created else "was here already, with the very same content."
    messages.success(request, f"{file.name} {said}")
    return added


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
    context = {"section": "library", "document": document, "problem": problem, "suffixes": sorted(READABLE)}
    return render(request, "documents/replace.html", context, status=400 if problem else 200)


def chosen_file(request: HttpRequest) -> UploadedFile[Any]:
    file = request.FILES.get("file")
    if file is None:
        raise Problem("no_file", "Choose a file.", field="file")
    return file


@login_required
def document_move(request: HttpRequest, pk: UUID) -> HttpResponse:
    document = editable_document(request, pk)
    form = MoveForm(person(request), document, request.POST or None)
    if form.is_valid():
        try:
            moved = move_document(person(request), document, form.cleaned_data["collection"])
        except Problem as problem:
            form.add_error("collection", problem.message)
        else:
            messages.success(
                request,
                f"“{moved.title}” is in {moved.collection} now. It is found there once it is indexed.",
            )
            return redirect("document", pk)
    context = {"section": "library", "document": document, "form": form}
    return render(request, "documents/move.html", context, status=400 if form.errors else 200)


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
def document_tags(request: HttpRequest, pk: UUID) -> HttpResponse:
    document = editable_document(request, pk)
    form = TagsForm(request.POST)
    if form.is_valid():
        actions.tag_document(person(request), document, form.cleaned_data["tags"])
        messages.success(request, "The tags are kept.")
    else:
        messages.error(request, " ".join(map(str, form.errors["tags"])))
    return redirect("document", pk)
