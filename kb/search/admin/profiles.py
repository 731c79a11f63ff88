"""The admin of retrieval profiles: saving one makes a new row."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminIntegerFieldWidget, UnfoldBooleanWidget

from kb.core.admin.base import Admin, person
from kb.search.actions import revise_profile
from kb.search.engine import MOST_RESULTS
from kb.search.models import RetrievalProfile


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

    # No field of the model: that there is one default is the action's business.
    serves = forms.BooleanField(
        label="Default",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Answers questions from now on.",
    )

    class Meta:
        model = RetrievalProfile
        fields = ("name", "dense_weight", "candidates", "passages")


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
        return () if obj is None else ("name",)

    def get_fields(self, request: HttpRequest, obj: RetrievalProfile | None = None) -> list[Any]:
        fields = ["name", "dense_weight", "candidates", "passages"]
        # The default stays it until another profile is made so.
        return fields if obj is not None and obj.is_default else [*fields, "serves"]

    def has_delete_permission(self, request: HttpRequest, obj: RetrievalProfile | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: RetrievalProfile, form: Any, change: bool) -> None:
        obj.is_default = form.cleaned_data.get("serves", False)
        made = revise_profile(person(request), obj)
        obj.__dict__.update(made.__dict__)

    def response_change(self, request: HttpRequest, obj: RetrievalProfile) -> HttpResponse:
        messages.success(request, f"Saved as “{obj}”; the one before stays as it was.")
        return redirect("admin:search_retrievalprofile_changelist")
