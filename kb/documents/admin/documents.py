"""The admin of documents: put in, look after, take up again, replace, delete; all by the actions."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from kb.core.admin.base import Admin, ReadOnlyInline, display, person
from kb.core.admin.filters import CollectionFilter
from kb.core.forms import blame
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents import actions
from kb.documents.admin.forms import ReplaceForm, UploadForm
from kb.documents.models import Document, DocumentRevision

HEAVY = ("text", "pages", "headings")
STATE_COLOURS = {
    "queued": "info",
    "parsing": "info",
    "embedding": "warning",
    "ready": "success",
    "failed": "danger",
}
PREVIEW_CHARACTERS = 4000


class RevisionInline(ReadOnlyInline[DocumentRevision, Document]):
    """The revisions, without their texts."""

    model = DocumentRevision
    fields = readonly_fields = (
        "number",
        "filename",
        "size",
        "media_type",
        "parsed_at",
        "created_by",
        "created_at",
    )
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[DocumentRevision]:
        return super().get_queryset(request).defer(*HEAVY)


class DocumentAdmin(Admin[Document]):
    """Documents in the collections that the person may see; those they may edit can be looked after.

    Nothing of a document is edited in place: its title and text are what the indexes were made of.
    """

    list_display = ["title", "collection", "state_badge", "filename", "updated_at"]
    list_filter = ["state", CollectionFilter]
    search_fields = ["title", "filename"]
    readonly_fields: ClassVar[Any] = (
        "title",
        "collection",
        "filename",
        "created_by",
        "created_at",
        "updated_at",
        "preview",
    )
    fields: ClassVar[Any] = readonly_fields
    inlines = [RevisionInline]
    actions = ["retry", "reparse"]
    date_hierarchy = "created_at"
    change_form_outer_before_template = "admin/documents/state.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        deferred = [f"{revision}__{field}" for revision in ("current", "incoming") for field in HEAVY]
        rows = super().get_queryset(request).filter(pk__in=Document.objects.visible_to(person(request)))
        return rows.select_related("collection", "current", "incoming").defer(*deferred)

    # Who may do what ---------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Document | None = None) -> bool:
        return False

    def has_edit_permission(self, request: HttpRequest, obj: Document | None = None) -> bool:
        """Whether the person may look after documents, or this one."""
        allowed = person(request).has_perm("documents.change_document")
        return allowed and (obj is None or editable(person(request), obj))

    def has_delete_permission(self, request: HttpRequest, obj: Document | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or editable(person(request), obj))

    # What is shown -----------------------------------------------------------------------------

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_badge(self, document: Document) -> tuple[str, str]:
        return document.state, document.get_state_display()

    @display(description="Text")
    def preview(self, document: Document) -> str:
        if document.current is None:
            return "Not parsed yet"
        text = document.current.text
        rest = f" … ({len(text):,} characters)" if len(text) > PREVIEW_CHARACTERS else ""
        return format_html('<pre class="own-text">{}{}</pre>', text[:PREVIEW_CHARACTERS], rest)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        document = self.get_object(request, object_id)
        context = {"editable": document is not None and self.has_edit_permission(request, document)}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    # What is done ------------------------------------------------------------------------------

    @admin.action(description="Retry what failed", permissions=["edit"])
    def retry(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        self.each(request, documents, actions.retry_document, "Taken up again")

    @admin.action(description="Re-parse from the stored file", permissions=["edit"])
    def reparse(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        self.each(request, documents, actions.reparse_document, "To be parsed again")

    def delete_model(self, request: HttpRequest, obj: Document) -> None:
        actions.delete_document(person(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> None:
        self.each(request, queryset, actions.delete_document, "Gone from the next search")

    def get_deleted_objects(
        self, objs: QuerySet[Document] | Sequence[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """A line each, for below a document may be thousands of chunks; and what the person may not edit."""
        lines = [f"{document}, with its text and all that was made of it" for document in objs]
        foreign = {str(document) for document in objs if not editable(person(request), document)}
        return lines, {"documents": len(lines)}, foreign, []

    # Pages of its own --------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:pk>/replace/", view(self.replace_view), name="documents_document_replace"),
            path("<uuid:pk>/retry/", view(self.one(actions.retry_document)), name="documents_document_retry"),
            path(
                "<uuid:pk>/reparse/",
                view(self.one(actions.reparse_document)),
                name="documents_document_reparse",
            ),
            *super().get_urls(),
        ]

    def one(self, action: Callable[[User, Document], object]) -> Callable[..., HttpResponse]:
        """A view that runs an action on one document."""

        def view(request: HttpRequest, pk: UUID) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            self.each(request, [self.wanted(request, pk)], action, "Queued")
            return redirect("admin:documents_document_change", pk)

        return view

    def wanted(self, request: HttpRequest, pk: UUID) -> Document:
        """The document that the person asks to change: 404 if they may not know of it."""
        document = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_edit_permission(request, document):
            raise PermissionDenied("You may not change this document.")
        return document

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.must(self.has_add_permission(request))
        form = UploadForm(person(request), request.POST or None, request.FILES or None)
        if form.is_valid():
            refused = self.take(request, form.cleaned_data["collection"], form.cleaned_data["uploads"])
            if refused < len(form.cleaned_data["uploads"]):
                return redirect("admin:documents_document_changelist")
        return self.form_page(request, form, "Add documents", "Add")

    def take(self, request: HttpRequest, collection: Collection, files: Sequence[Any]) -> int:
        """Puts the files in, each with its own message. Returns how many were refused."""
        refused = 0
        for file in files:
            try:
                added = actions.add_document(person(request), collection, file)
            except Problem as problem:
                refused += 1
                messages.error(request, f"{file.name}: {problem.message}")
            else:
                said = "is queued" if added.created else "is in this collection already"
                messages.success(request, f"{file.name} {said}.")
        return refused

    def replace_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        document = self.wanted(request, pk)
        form = ReplaceForm(request.POST or None, request.FILES or None)
        if form.is_valid():
            try:
                actions.replace_document(person(request), document, form.cleaned_data["file"])
            except Problem as problem:
                blame(form, problem)
            else:
                messages.success(
                    request, "The new file is queued; the old text is searched until it is parsed."
                )
                return redirect(reverse("admin:documents_document_change", args=[pk]))
        explanation = "The old text goes on being searched until the new file is parsed."
        return self.form_page(request, form, f"Replace “{document}”", "Replace", explanation=explanation)


def editable(user: User, document: Document) -> bool:
    return Document.objects.editable_by(user).filter(pk=document.pk).exists()
