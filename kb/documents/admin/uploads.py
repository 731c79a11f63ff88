"""The admin of uploads: what was put in together, to be paused, cancelled and taken up again together."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from kb.core.admin.base import ReadOnly, display, person
from kb.core.admin.filters import CollectionFilter
from kb.documents.admin.steering import Steering
from kb.documents.models import Document, Upload


@admin.register(Upload)
class UploadAdmin(Steering[Upload], ReadOnly[Upload]):
    """Uploads into the collections that the person may see; the actions refuse where they may not edit."""

    list_display = ["__str__", "collection", "origin", "created_by", "created_at", "bar", "failed", "paused"]
    list_filter = ["origin", CollectionFilter]
    list_select_related = ["collection", "created_by"]
    search_fields = ["name"]
    date_hierarchy = "created_at"
    fields = (
        "name",
        "collection",
        "origin",
        "created_by",
        "created_at",
        "bar",
        "failed",
        "paused",
        "documents",
    )
    readonly_fields = ("bar", "failed", "paused", "documents")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        rows = super().get_queryset(request).filter(pk__in=Upload.objects.visible_to(person(request)))
        at_work = Q(documents__state__in=Document.WORK)
        return rows.annotate(
            total=Count("documents"),
            ready=Count("documents", filter=Q(documents__state=Document.State.READY)),
            failures=Count("documents", filter=Q(documents__state=Document.State.FAILED)),
            held=Count("documents", filter=at_work & Q(documents__paused=True)),
        )

    @display(description="Ready")
    def bar(self, upload: Any) -> str:
        if not upload.total:
            return "–"
        label = f"{upload.ready:,} of {upload.total:,} documents"
        return format_html(
            '<progress class="own-bar" value="{}" max="{}" title="{}">{}</progress> {}',
            upload.ready,
            upload.total,
            label,
            label,
            label,
        )

    @display(description="Failed")
    def failed(self, upload: Any) -> int:
        return int(upload.failures)

    @display(description="Paused")
    def paused(self, upload: Any) -> int:
        return int(upload.held)

    @display(description="Documents")
    def documents(self, upload: Upload) -> str:
        return format_html(
            '<a class="own-link" href="{}?upload__id__exact={}">The documents</a> · '
            '<a class="own-link" href="{}">its page</a>',
            reverse("admin:documents_document_changelist"),
            upload.pk,
            reverse("uploaded", args=[upload.pk]),
        )
