"""The admin of documents: put in, look after, take up again, replace, delete; all by the actions."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from kb.core.admin.base import Admin, ReadOnlyInline, display, person
from kb.core.admin.filters import CollectionFilter
from kb.core.forms import blame
from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.core.templatetags.footnote import took
from kb.documents import actions
from kb.documents.actions import ENDED_WITHOUT_SUCCESS
from kb.documents.admin.forms import MoveForm, ReplaceForm, TagsForm, UploadForm
from kb.documents.models import Document, DocumentRevision, DocumentStage, Upload
from kb.documents.move_actions import move_document

HEAVY = ("text", "pages", "headings")
STATE_COLOURS = {
    "queued": "info",
    "fetching": "info",
    "parsing": "info",
    "embedding": "warning",
    "ready": "success",
    "failed": "danger",
    "cancelled": "default",
    "paused": "default",
}
PREVIEW_CHARACTERS = 4000


VERBS: dict[str, tuple[Callable[[User, Document], object], str]] = {
    "retry": (actions.retry_document, "Queued"),
    "reparse": (actions.reparse_document, "Queued"),
    "pause": (actions.pause, "Paused"),
    "resume": (actions.resume, "Goes on"),
    "cancel": (actions.cancel, "Cancelled"),
}


class StageFilter(SimpleListFilter):
    """Documents by a stage that runs, failed or was cancelled: the last one that was begun."""

    title = "stage"
    parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            (f"{stage}-{state}", f"{label}: {state}")
            for stage, label in DocumentStage.Stage.choices
            for state in ("running", "failed", "cancelled")
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Document]) -> QuerySet[Document]:
        stage, _, state = (self.value() or "").partition("-")
        if state not in DocumentStage.State.values:
            return queryset
        found = DocumentStage.objects.filter(document=OuterRef("pk"), stage=stage, state=state)
        return queryset.filter(Exists(found))


class StageInline(ReadOnlyInline[DocumentStage, Document]):
    """How the newest attempt at each stage went."""

    model = DocumentStage
    fields = readonly_fields = (
        "stage",
        "state_shown",
        "attempt",
        "far",
        "reused",
        "took",
        "worker",
        "error",
    )
    show_change_link = False
    ordering = ["started_at"]

    def get_fields(self, request: HttpRequest, obj: Document | None = None) -> list[Any]:
        """How much was reused only for who sees all collections anyway: it may come from any of them."""
        hidden = () if request.user.is_superuser else ("reused",)
        return [name for name in self.fields if name not in hidden]

    @display(description="State")
    def state_shown(self, stage: DocumentStage) -> str:
        return stage.get_state_display()

    @display(description="Done")
    def far(self, stage: DocumentStage) -> str:
        return f"{stage.done:,} of {stage.total:,}" if stage.total else "–"

    @display(description="Duration")
    def took(self, stage: DocumentStage) -> str:
        return took(stage.seconds)


class RevisionInline(ReadOnlyInline[DocumentRevision, Document]):
    """The revisions, without their texts."""

    model = DocumentRevision
    fields = readonly_fields = (
        "number",
        "filename",
        "size",
        "media_type",
        "author",
        "language",
        "parsed_at",
        "parser",
        "created_by",
        "created_at",
    )
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[DocumentRevision]:
        return super().get_queryset(request).defer(*HEAVY)


class DocumentAdmin(Admin[Document]):
    """Documents in the collections that the person may see; those they may edit can be looked after.

    Of a document the tags alone are edited: its title and text are what the indexes were made of.
    """

    list_display = ["title", "collection", "state_badge", "filename", "updated_at"]
    list_filter = ["state", "paused", StageFilter, "error_code", CollectionFilter]
    search_fields = ["title", "filename"]
    readonly_fields: ClassVar[Any] = (
        "title",
        "tags",
        "collection",
        "filename",
        "upload",
        "archive",
        "queued_at",
        "created_by",
        "created_at",
        "updated_at",
        "preview",
    )
    fields: ClassVar[Any] = readonly_fields
    inlines = [StageInline, RevisionInline]
    actions = ["pause", "resume", "cancel", "retry", "reparse"]
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
        if document.paused and document.state in Document.WORK:
            return "paused", f"{document.get_state_display()}, paused"
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
        context = {
            "editable": document is not None and self.has_edit_permission(request, document),
            "verbs": verbs(document) if document is not None else [],
            "twin": self.twin(request, document) if document is not None else None,
        }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def twin(self, request: HttpRequest, document: Document) -> Document | None:
        """The document with the very same file, if the person may know of it."""
        return (
            self.get_queryset(request).filter(pk=document.same_as_id).first() if document.same_as_id else None
        )

    # What is done ------------------------------------------------------------------------------

    @admin.action(description="Pause", permissions=["edit"])
    def pause(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        self.each(request, documents, actions.pause, "Paused")

    @admin.action(description="Resume", permissions=["edit"])
    def resume(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        self.each(request, documents, actions.resume, "Goes on")

    @admin.action(description="Cancel what is unfinished", permissions=["edit"])
    def cancel(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        self.each(request, documents, actions.cancel, "Cancelled")

    @admin.action(description="Retry what failed or was cancelled", permissions=["edit"])
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
            path("<uuid:pk>/move/", view(self.move_view), name="documents_document_move"),
            path("<uuid:pk>/tags/", view(self.tags_view), name="documents_document_tags"),
            *(
                path(f"<uuid:pk>/{verb}/", view(self.one(action, done)), name=f"documents_document_{verb}")
                for verb, (action, done) in VERBS.items()
            ),
            *super().get_urls(),
        ]

    def one(self, action: Callable[[User, Document], object], done: str) -> Callable[..., HttpResponse]:
        """A view that runs an action on one document."""

        def view(request: HttpRequest, pk: UUID) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            self.each(request, [self.wanted(request, pk)], action, done)
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
            try:
                actions.must_have_room(person(request), form.cleaned_data["collection"])
            except Problem as problem:
                blame(form, problem)
            else:
                refused = self.take(request, form.cleaned_data["collection"], form.cleaned_data["uploads"])
                if refused < len(form.cleaned_data["uploads"]):
                    return redirect("admin:documents_document_changelist")
        return self.form_page(request, form, "Add documents", "Add")

    def take(self, request: HttpRequest, collection: Collection, files: Sequence[Any]) -> int:
        """Puts the files in, each with its own message. Returns how many were refused."""
        refused = 0
        opened = actions.open_upload(person(request), collection, Upload.Origin.ADMIN)
        for file in files:
            try:
                added = actions.add_document(person(request), collection, file, upload=opened)
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

    def move_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        document = self.wanted(request, pk)
        form = MoveForm(person(request), document, request.POST or None)
        if form.is_valid():
            try:
                moved = move_document(person(request), document, form.cleaned_data["collection"])
            except Problem as problem:
                blame(form, problem)
            else:
                messages.success(
                    request, f"“{moved}” is in {moved.collection} now. It is found there once it is indexed."
                )
                return redirect(reverse("admin:documents_document_change", args=[pk]))
        explanation = (
            f"Then the readers of the other collection see it, and those of {document.collection} do not."
        )
        return self.form_page(request, form, f"Move “{document}”", "Move", explanation=explanation)

    def tags_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        document = self.wanted(request, pk)
        form = TagsForm(request.POST or None, initial={"tags": ", ".join(document.tags)})
        if form.is_valid():
            actions.tag_document(person(request), document, form.cleaned_data["tags"])
            messages.success(request, "The tags are kept.")
            return redirect(reverse("admin:documents_document_change", args=[pk]))
        explanation = "Whoever searches with “tag:” and one of these finds this document."
        return self.form_page(request, form, f"Tags of “{document}”", "Keep", explanation=explanation)


def verbs(document: Document) -> list[tuple[str, str]]:
    """What makes sense in the document's state, each with the words on its button."""
    if document.state in ENDED_WITHOUT_SUCCESS:
        return [("retry", "Retry")]
    if document.state not in Document.WORK:
        return []
    return [("resume", "Resume") if document.paused else ("pause", "Pause"), ("cancel", "Cancel")]


def editable(user: User, document: Document) -> bool:
    return Document.objects.editable_by(user).filter(pk=document.pk).exists()
