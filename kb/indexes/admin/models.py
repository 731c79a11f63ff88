"""The admin of embedding models: what they are is fixed; licence and price are notes of the keepers."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from django.contrib import admin
from django.http import HttpRequest

from kb.core.admin.base import Admin, display
from kb.indexes.models import EmbeddingModel

NOTES = ("licence", "price_per_million_tokens")


@admin.register(EmbeddingModel)
class EmbeddingModelAdmin(Admin[EmbeddingModel]):
    """Models are registered by what uses them; changing one would belie the vectors that it made."""

    list_display = ["name", "provider", "revision", "dimensions", "max_tokens", "weights", "licence"]
    list_filter = ["provider"]
    search_fields = ["name"]
    readonly_fields = tuple(
        field.name for field in EmbeddingModel._meta.fields if field.name not in NOTES and field.name != "id"
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: EmbeddingModel | None = None) -> bool:
        return False

    @display(description="Weights")
    def weights(self, model: EmbeddingModel) -> str:
        return f"{model.weights_sha256[:12]}…" if model.weights_sha256 else "–"
