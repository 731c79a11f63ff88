"""Uploads: what was put in together, by whom it is looked after, and how far it is."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from kb.core.pagination import paginate
from kb.core.problems import Problem
from kb.core.views import person
from kb.documents import actions
from kb.documents.forms import UploadForm
from kb.documents.models import Document, Upload
from kb.documents.views.access import listing, visible_upload
from kb.documents.views.counting import tallies
from kb.documents.views.library import a_page, first_of
from kb.documents.views.whole import busy, context_of, progress

A_PAGE = 25


@login_required
@require_safe
def uploads(request: HttpRequest) -> HttpResponse:
    """The uploads into collections that this person may add to, newest first; empty ones are left out."""
    filled = Exists(Document.objects.filter(upload=OuterRef("pk")))
    found = Upload.objects.editable_by(person(request)).filter(filled).select_related("collection")
    try:
        page = paginate(found, ["-created_at", "id"], request.GET.get("cursor"), A_PAGE)
    except Problem as problem:
        raise Http404(problem.message) from problem
    counts = tallies(Document.objects.filter(upload__in=[upload.pk for upload in page.items]), "upload")
    context = {
        "section": "upload",
        "page": page,
        "uploads": [(upload, counts[upload.pk]) for upload in page.items if upload.pk in counts],
        "working": any(count.work for count in counts.values()),
    }
    return render(request, "documents/uploads.html", context)


@login_required
@require_POST
def upload_open(request: HttpRequest) -> HttpResponse:
    """Opens an upload for the files that the upload page's script sends next."""
    form = UploadForm(person(request), request.POST)
    if not form.is_valid():
        return JsonResponse({"problem": form.said()}, status=400)
    try:
        opened = actions.open_upload(
            person(request),
            form.cleaned_data["collection"],
            Upload.Origin.PAGE,
            request.POST.get("name", "")[:255],
        )
    except Problem as problem:
        return JsonResponse({"problem": problem.message}, status=problem.status)
    return JsonResponse(
        {
            "id": str(opened.pk),
            "url": reverse("uploaded", args=[opened.pk]),
            "progress": reverse("uploaded-progress", args=[opened.pk]),
        },
        status=201,
    )


@require_safe
def uploaded(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One upload: its bar, its buttons and its documents, newest first."""
    upload = visible_upload(request, pk)
    page = a_page(request, listing(request.user).filter(upload=upload))
    context = context_of(request, upload) | {
        "section": "upload",
        "upload": upload,
        "page": page,
        "newest": first_of(request, page),
        "busy": busy(page.items),
    }
    return render(request, "documents/uploaded.html", context)


@require_safe
def uploaded_progress(request: HttpRequest, pk: UUID) -> HttpResponse:
    """As a collection's, for one upload."""
    return progress(request, visible_upload(request, pk))
