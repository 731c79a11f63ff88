"""The admin of retrieval profiles: saving one makes a new row."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminIntegerFieldWidget

from kb.core.admin.base import Admin, person
from kb.search.engine import MOST_RESULTS
from kb.search.models import RetrievalProfile
from kb.search.profiles import revise


class ProfileForm(forms.ModelForm[RetrievalProfile]):
    """Settings within what a search can do."""

    dense_weight = forms.FloatField(
        min_value=0,
        max_value=1,
        initial=0.8,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "0.05"}),
        help_text="1: by meaning alone; 0: by words alone.",
    )
    candidates = forms.IntegerField(
        min_value=1,
        max_value=1000,
        initial=100,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Passages taken from each arm.",
    )
    passages = forms.IntegerField(
        min_value=1,
        max_value=MOST_RESULTS,
        initial=8,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Passages given to the answer.",
    )

    class Meta:
        model = RetrievalProfile
        fields = ("name", "dense_weight", "candidates", "passages", "is_default")

    def validate_constraints(self) -> None:
        """Nothing to check: the action finds the number and moves the default."""


@admin.register(RetrievalProfile)
class RetrievalProfileAdmin(Admin[RetrievalProfile]):
    """A row is never changed, for past queries refer to it."""

    form = ProfileForm
    list_display = ["__str__", "dense_weight", "candidates", "passages", "is_default", "created_at"]
    list_filter = ["is_default", "name"]
    ordering = ["name", "-number"]

    def get_readonly_fields(
        self, request: HttpRequest, obj: RetrievalProfile | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        # Another profile becomes the default by being made so; this one cannot just cease to be it.
        return ("name", "is_default") if obj.is_default else ("name",)

    def has_delete_permission(self, request: HttpRequest, obj: RetrievalProfile | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: RetrievalProfile, form: Any, change: bool) -> None:
        made = revise(person(request), obj)
        obj.__dict__.update(made.__dict__)

    def response_change(self, request: HttpRequest, obj: RetrievalProfile) -> HttpResponse:
        messages.success(request, f"Saved as “{obj}”; the one before stays as it was.")
        return redirect("admin:search_retrievalprofile_changelist")
