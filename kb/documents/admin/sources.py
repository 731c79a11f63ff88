"""The admin of what collections are fed from on the web, and of the single pages."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from kb.core.admin.base import ReadOnly, display, person
from kb.core.admin.filters import CollectionFilter
from kb.documents import source_actions
from kb.documents.models import Source, WebPage

STATE_COLOURS = {"waiting": "info", "read": "success", "failed": "danger", "paused": "default"}


@admin.register(Source)
class SourceAdmin(ReadOnly[Source]):
    """Sources of the collections that the person may edit; they are added on the collection's page."""

    list_display = [
        "__str__",
        "collection",
        "kind",
        "state_badge",
        "pages",
        "next_at",
        "last_checked_at",
        "problem",
    ]
    list_filter = ["state", "kind", "paused", CollectionFilter]
    list_select_related = ["collection"]
    search_fields = ["url"]
    date_hierarchy = "created_at"
    fields = (
        "url",
        "collection",
        "kind",
        "every",
        "when_vanished",
        "other_hosts",
        "state_badge",
        "error",
        "attempts",
        "next_at",
        "last_checked_at",
        "listed_at",
        "etag",
        "last_modified",
        "created_by",
        "created_at",
        "pages",
    )
    readonly_fields = ("state_badge", "pages")
    actions = ["look_now", "pause", "resume"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        rows = Source.objects.visible_to(person(request)).with_counts()
        return rows.order_by(*self.get_ordering(request))

    def has_edit_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm("documents.change_document")

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_badge(self, source: Source) -> tuple[str, str]:
        return ("paused", "Paused") if source.paused else (source.state, source.get_state_display())

    @display(description="Problem")
    def problem(self, source: Source) -> str:
        return source.error[:100]

    @display(description="Pages")
    def pages(self, source: Any) -> str:
        return format_html(
            '<a class="own-link" href="{}?source__id__exact={}">{}</a>, {} failed, {} gone',
            reverse("admin:documents_webpage_changelist"),
            source.pk,
            f"{source.page_count:,}",
            f"{source.failed:,}",
            f"{source.vanished:,}",
        )

    @admin.action(description="Check now", permissions=["edit"])
    def look_now(self, request: HttpRequest, sources: QuerySet[Source]) -> None:
        self.each(request, sources, source_actions.check_now, "Looked at now")

    @admin.action(description="Pause", permissions=["edit"])
    def pause(self, request: HttpRequest, sources: QuerySet[Source]) -> None:
        self.each(request, sources, source_actions.pause_source, "Paused")

    @admin.action(description="Resume", permissions=["edit"])
    def resume(self, request: HttpRequest, sources: QuerySet[Source]) -> None:
        self.each(request, sources, source_actions.resume_source, "Goes on")


class OutcomeFilter(admin.SimpleListFilter):
    """Pages by how the last look at them went."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("fine", "Fine"), ("failed", "Failed"), ("gone", "Gone from the web")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WebPage]) -> QuerySet[WebPage]:
        gone = Q(vanished_at__isnull=False)
        wanted = {"fine": Q(error="") & ~gone, "failed": ~Q(error="") & ~gone, "gone": gone}
        return queryset.filter(wanted.get(self.value() or "", Q()))


@admin.register(WebPage)
class WebPageAdmin(ReadOnly[WebPage]):
    """The pages of sources, and the documents that were made of them."""

    list_display = [
        "__str__",
        "collection",
        "document",
        "next_at",
        "checked_at",
        "changed_at",
        "vanished_at",
        "problem",
    ]
    list_filter = [OutcomeFilter]
    list_select_related = ["source__collection", "document"]
    search_fields = ["url"]
    fields = (
        "url",
        "source",
        "document",
        "same_as",
        "final_url",
        "error",
        "attempts",
        "next_at",
        "listed_at",
        "checked_at",
        "changed_at",
        "vanished_at",
        "etag",
        "last_modified",
        "sha256",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebPage]:
        return super().get_queryset(request).filter(source__in=Source.objects.visible_to(person(request)))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "source__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @display(description="Collection", ordering="source__collection__name")
    def collection(self, page: WebPage) -> str:
        return str(page.source.collection)

    @display(description="Problem")
    def problem(self, page: WebPage) -> str:
        return page.error[:100]
