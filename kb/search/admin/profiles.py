"""The admin of retrieval profiles: saving one makes a new version; one is the default; two are compared."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldBooleanWidget

from kb.core.admin.base import Admin, person
from kb.search import profiles
from kb.search.models import RetrievalProfile

FIELDSETS = {
    "Fusion": ("strategy", "dense_weight", "candidates"),
    "Reranking": ("reranker", "rerank_candidates", "rerank_milliseconds"),
    "Passages": (
        "collapse_duplicates", "merge_adjacent", "widen_to_section", "group_by_document", "diversity",
    ),
    "Boosts": ("title_boost", "recency_boost", "recency_days"),
    "Answers": ("passages", "context_tokens"),
}  # fmt: skip


class ProfileForm(forms.ModelForm[RetrievalProfile]):
    """Settings within what a search can do; what is not sent stays as it is."""

    # No field of the model: that there is one default is the action's business.
    serves = forms.BooleanField(
        label="Default",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Answers questions from now on.",
    )

    class Meta:
        model = RetrievalProfile
        fields = ("name", *(name for names in FIELDSETS.values() for name in names))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, entry in self.fields.items():
            entry.required = name == "name"


@admin.register(RetrievalProfile)
class RetrievalProfileAdmin(Admin[RetrievalProfile]):
    """A row is never changed, for past queries refer to it."""

    form = ProfileForm
    list_display = ["__str__", "strategy", "dense_weight", "candidates", "reranker", "passages", "is_default",
                    "created_at"]  # fmt: skip
    list_filter = ["is_default", "name", "strategy"]
    ordering = ["name", "-number"]
    actions = ["serve", "compare"]

    def get_readonly_fields(
        self, request: HttpRequest, obj: RetrievalProfile | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else ("name",)

    def get_fieldsets(self, request: HttpRequest, obj: RetrievalProfile | None = None) -> Any:
        # The default stays it until another profile is made so.
        serves = () if obj is not None and obj.is_default else ("serves",)
        parts = [(title, {"fields": names}) for title, names in FIELDSETS.items()]
        return [(None, {"fields": ("name", *serves)}), *parts]

    def has_delete_permission(self, request: HttpRequest, obj: RetrievalProfile | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: RetrievalProfile, form: Any, change: bool) -> None:
        obj.is_default = form.cleaned_data.get("serves", False)
        made = profiles.revise_profile(person(request), obj)
        obj.__dict__.update(made.__dict__)

    def response_change(self, request: HttpRequest, obj: RetrievalProfile) -> HttpResponse:
        messages.success(request, f"Saved as “{obj}”; the one before stays as it was.")
        return redirect("admin:search_retrievalprofile_changelist")

    @admin.action(description="Make default", permissions=["change"])
    def serve(self, request: HttpRequest, queryset: QuerySet[RetrievalProfile]) -> None:
        if len(queryset) != 1:
            messages.error(request, "Choose one profile: there is one default.")
            return
        self.each(request, queryset, profiles.make_default, "The default from now on")

    @admin.action(description="Compare", permissions=["view"])
    def compare(self, request: HttpRequest, queryset: QuerySet[RetrievalProfile]) -> TemplateResponse | None:
        """Two, side by side: where they differ, and what became of the queries that used them."""
        if len(queryset) != 2:
            messages.error(request, "Choose two profiles to compare.")
            return None
        one, other = queryset.order_by("created_at", "pk")
        context = {
            "opts": self.model._meta,
            "title": f"{one} and {other}",
            "differences": [
                (name.replace("_", " "), before, after)
                for name, before, after in profiles.differences(one, other)
            ],
            "uses": profiles.uses([one, other]),
        }
        return self.page(request, "admin/search/profiles.html", context)
