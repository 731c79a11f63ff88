"""The admin of chunks: the text between its neighbours, and the card of its vectors' lineage."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html

from kb.core.admin.base import ReadOnly, display, person
from kb.core.admin.filters import CollectionFilter
from kb.documents.models import Chunk
from kb.indexes.lineage import lineage


@admin.register(Chunk)
class ChunkAdmin(ReadOnly[Chunk]):
    """Chunks of the documents that the person may see."""

    list_display = ["id", "document", "ordinal", "headings", "page", "tokens", "beginning"]
    list_filter = [CollectionFilter, "chunking"]
    list_select_related = ["document"]
    search_fields = ["=id", "document__title"]
    search_help_text = "A chunk's number, or words of the document's title"
    ordering = ["-id"]
    readonly_fields = ("in_context", "lineage_card")
    fields = readonly_fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chunk]:
        visible = Chunk.objects.visible_to(person(request))
        heavy = ("revision__text", "revision__pages", "revision__headings")
        return visible.select_related("document", "revision", "chunking", "collection").defer(*heavy)

    @display(description="Headings")
    def headings(self, chunk: Chunk) -> str:
        return " › ".join(chunk.heading_path) or "–"

    @display(description="Text")
    def beginning(self, chunk: Chunk) -> str:
        return format_html('<span class="own-quiet">{}…</span>', chunk.text[:80])

    @display(description="Text, with what stands before and after")
    def in_context(self, chunk: Chunk) -> str:
        same = Chunk.objects.filter(document=chunk.document_id, chunking=chunk.chunking_id)
        context = {
            "chunk": chunk,
            "before": same.filter(ordinal__lt=chunk.ordinal).order_by("-ordinal").first(),
            "after": same.filter(ordinal__gt=chunk.ordinal).order_by("ordinal").first(),
        }
        return render_to_string("admin/indexes/chunk.html", context)

    @display(description="Lineage")
    def lineage_card(self, chunk: Chunk) -> str:
        return render_to_string("admin/indexes/lineage.html", {"card": lineage(chunk)})
