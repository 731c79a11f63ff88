"""The admin of indexes, their versions with size and work left, and the queue: to be looked at."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string

from kb.core.admin.base import ReadOnly, ReadOnlyInline, display
from kb.indexes import embedding_table
from kb.indexes.lineage import formats, mixed
from kb.indexes.models import EmbeddingJob, Index, IndexTransition, IndexVersion

STATE_COLOURS = {
    "live": "success", "shadow": "info", "canary": "warning", "building": "info", "validating": "info",
    "failed": "danger", "cancelled": "danger",
}  # fmt: skip


class VersionInline(ReadOnlyInline[IndexVersion, Index]):
    model = IndexVersion
    fields = readonly_fields = ("number", "state", "model", "dimensions", "storage", "chunking", "created_at")


class TransitionInline(ReadOnlyInline[IndexTransition, IndexVersion]):
    """From which state to which, who, when and why."""

    model = IndexTransition
    fields = readonly_fields = ("at", "before", "after", "actor", "reason")
    show_change_link = False


@admin.register(Index)
class IndexAdmin(ReadOnly[Index]):
    list_display = ["name", "slug", "is_default", "live_version", "created_at"]
    list_select_related = ["live_version__index"]
    inlines = [VersionInline]


@admin.register(IndexVersion)
class IndexVersionAdmin(ReadOnly[IndexVersion]):
    """One build: its model, its parameters, how many vectors it has and how many jobs are left."""

    list_display = [
        "__str__",
        "state_badge",
        "model",
        "dimensions",
        "storage",
        "jobs_left",
        "size",
        "created_at",
    ]
    list_filter = ["state", "index", "model"]
    list_select_related = ["index", "model"]
    inlines = [TransitionInline]
    readonly_fields = ("vectors", "number_formats", "jobs_left", "size", "table_name")
    fields = (
        "index", "number", "state", "model", "chunking", ("vectors", "jobs_left"), "number_formats",
        ("size", "table_name"),
        ("dimensions", "storage"), ("hnsw_m", "hnsw_ef_construction", "hnsw_ef_search"), "created_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[IndexVersion]:
        return super().get_queryset(request).annotate(jobs_counted=Count("jobs"))

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_badge(self, version: IndexVersion) -> tuple[str, str]:
        return version.state, version.get_state_display()

    @display(description="Jobs left", ordering="jobs_counted")
    def jobs_left(self, version: Any) -> str:
        return f"{version.jobs_counted:,}"

    @display(description="Vectors")
    def vectors(self, version: IndexVersion) -> str:
        if version.state == IndexVersion.State.DROPPED:
            return "dropped"
        return f"{embedding_table.count(version):,}"

    @display(description="Made by")
    def number_formats(self, version: IndexVersion) -> str:
        if version.state == IndexVersion.State.DROPPED:
            return "–"
        found = formats(version)
        return render_to_string("admin/indexes/formats.html", {"formats": found, "mixed": mixed(found)})

    @display(description="Size with its indexes")
    def size(self, version: IndexVersion) -> str:
        return filesizeformat(embedding_table.size_bytes(version))

    @display(description="Table")
    def table_name(self, version: IndexVersion) -> str:
        return version.table


@admin.register(EmbeddingJob)
class EmbeddingJobAdmin(ReadOnly[EmbeddingJob]):
    """The queue. A job that was tried too often keeps its error."""

    list_display = ["id", "version", "chunk_id", "attempts", "lease_until", "error", "created_at"]
    list_filter = ["version", "attempts"]
    list_select_related = ["version__index"]
    fields = readonly_fields = ("version", "chunk_id", "attempts", "lease_until", "error", "created_at")
    ordering = ["-attempts", "id"]
