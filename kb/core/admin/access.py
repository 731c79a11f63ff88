"""The admin of API keys: a key's secret is shown once, when it is made."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
)

from kb.core.actions import create_api_key, revoke_api_key
from kb.core.admin.base import Admin, display, person
from kb.core.forms import blame
from kb.core.models import APIKey, User
from kb.core.problems import Problem


class KeyForm(forms.Form):
    """A new key. Only administrators with all rights make one for somebody else, such as a program's account."""

    owner = forms.ModelChoiceField(
        queryset=User.objects.filter(is_active=True),
        widget=UnfoldAdminSelectWidget,
        help_text="The key sees what this account sees.",
    )
    name = forms.CharField(
        max_length=100, widget=UnfoldAdminTextInputWidget, help_text="What the key is for, to know it by."
    )
    scopes = forms.MultipleChoiceField(
        choices=APIKey.Scope.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    expires_at = forms.DateTimeField(
        label="Expires on",
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text="Leave it empty for a key that lasts until it is revoked.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].initial = user
        if not user.is_superuser:
            del self.fields["owner"]


@admin.register(APIKey)
class APIKeyAdmin(Admin[APIKey]):
    """Keys: made and revoked, never changed; their secrets are nowhere."""

    list_display = ["name", "owner", "secret_start", "scope_list", "state", "last_used_at", "expires_at"]
    list_select_related = ["owner"]
    search_fields = ["name", "prefix", "owner__username"]
    readonly_fields = (
        "name",
        "owner",
        "secret_start",
        "scope_list",
        "state",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    fields = readonly_fields
    actions = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[APIKey]:
        keys = super().get_queryset(request)
        return keys if person(request).is_superuser else keys.filter(owner=person(request))

    def has_change_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        # A revoked key stays, so that the audit log can be read.
        return False

    @display(description="Begins with")
    def secret_start(self, key: APIKey) -> str:
        return f"{key.prefix}…"

    @display(description="Scopes")
    def scope_list(self, key: APIKey) -> str:
        return ", ".join(key.scopes)

    @display(description="State", label={"Usable": "success", "Expired": "warning", "Revoked": "danger"})
    def state(self, key: APIKey) -> str:
        if key.revoked_at:
            return "Revoked"
        return "Expired" if key.expires_at and key.expires_at <= timezone.now() else "Usable"

    @admin.action(description="Revoke", permissions=["add"])
    def revoke(self, request: HttpRequest, keys: QuerySet[APIKey]) -> None:
        self.each(request, keys, revoke_api_key, "Revoked")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.must(self.has_add_permission(request))
        user = person(request)
        form = KeyForm(user, request.POST or None)
        if form.is_valid():
            data = form.cleaned_data
            try:
                key, secret = create_api_key(
                    data.get("owner", user), data["name"], data["scopes"], data["expires_at"], actor=user
                )
            except Problem as problem:
                blame(form, problem)
            else:
                explanation = f"Copy the key “{key.name}” now: it is not shown again."
                return self.shown_once(request, "New API key", secret, explanation)
        return self.form_page(request, form, "New API key", "Make the key")
