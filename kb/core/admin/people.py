"""The admin of people: accounts, and invitations whose link is shown once and mailed."""
# ruff: noqa: ARG002 (Django calls these methods with all their arguments)

import logging
from smtplib import SMTPException
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget

from kb.core.actions import invite
from kb.core.admin.base import SuperuserOnly, person
from kb.core.forms import blame
from kb.core.models import Invitation, User
from kb.core.problems import Problem

logger = logging.getLogger(__name__)

# Who may see what is said by collections and their members, not by groups.
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(SuperuserOnly[User], DjangoUserAdmin[User]):
    """Accounts. One that is no longer wanted is switched off rather than deleted, since its collections stay."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "is_active", "is_staff", "is_superuser", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    search_fields = ["username", "email"]
    readonly_fields = ["last_login", "date_joined"]
    filter_horizontal = ()
    fieldsets = [
        (None, {"fields": ["username", "password", "first_name", "last_name", "email"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser", "user_permissions"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "email", "usable_password", "password1", "password2"]})]


class InvitationForm(forms.Form):
    email = forms.EmailField(label="E-mail address", widget=UnfoldAdminEmailInputWidget)


@admin.register(Invitation)
class InvitationAdmin(SuperuserOnly[Invitation]):
    """Invitations; making one shows its link once."""

    list_display = ["email", "invited_by", "created_at", "expires_at", "accepted_at"]
    search_fields = ["email"]
    readonly_fields = ("email", "invited_by", "created_at", "expires_at", "accepted_at")
    fields = readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.must(self.has_add_permission(request))
        form = InvitationForm(request.POST or None)
        if form.is_valid():
            try:
                invitation, path = invite(person(request), form.cleaned_data["email"])
            except Problem as problem:
                blame(form, problem)
            else:
                link = settings.SITE_URL + path
                mail(request, invitation, link)
                explanation = (
                    f"Whoever opens this link within {settings.INVITATION_DAYS} days makes the account of "
                    f"{invitation.email}. It works once and is not shown again."
                )
                return self.shown_once(request, "Invitation", link, explanation)
        return self.form_page(request, form, "Invite somebody", "Invite")


def mail(request: HttpRequest, invitation: Invitation, link: str) -> None:
    """Sends the link; without a mail server that works, it is passed on by hand."""
    context = {"invitation": invitation, "link": link, "days": settings.INVITATION_DAYS}
    text = render_to_string("admin/invitation_mail.txt", context)
    try:
        send_mail("Your invitation to Footnote", text, None, [invitation.email])
    except (SMTPException, OSError):
        logger.exception("The invitation of %s could not be mailed", invitation.email)
        messages.warning(request, "The mail could not be sent: pass the link on yourself.")
