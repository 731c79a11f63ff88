"""The documents' admin with their progress, which is the indexes' to tell."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime

from kb.core.admin.base import ChangeList, display
from kb.documents.admin import documents
from kb.documents.models import Document
from kb.indexes.progress import progress


class ProgressList(ChangeList):
    """Reads the progress of a page's documents at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        listed = list(self.result_list)
        far = progress(listed)
        for document in listed:
            document.progress = far[document.pk]
        self.result_list = listed


@admin.register(Document)
class DocumentAdmin(documents.DocumentAdmin):
    """Documents, with how many of their passages can be searched."""

    list_display = ["title", "collection", "state_badge", "bar", "reason", "changed"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ProgressList

    @display(description="Progress")
    def bar(self, document: Any) -> str:
        far = document.progress
        if not far.total:
            return "–"
        label = f"{far.done} of {far.total} passages"
        return format_html(
            '<progress class="own-bar" value="{}" max="{}" title="{}">{}</progress>',
            far.done,
            far.total,
            label,
            label,
        )

    @display(description="Error")
    def reason(self, document: Document) -> str:
        return document.error[:120]

    @display(description="Changed", ordering="updated_at")
    def changed(self, document: Document) -> str:
        return format_html(
            '<span class="own-date">{}</span>', date_format(localtime(document.updated_at), "Y-m-d H:i")
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        document = self.get_object(request, object_id)
        far = progress([document])[document.pk] if document else None
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "progress": far})
