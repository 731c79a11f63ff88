"""Forms of accounts, keys, collections and members."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.utils import timezone

from kb.core.models import APIKey, Collection, Membership, User
from kb.core.problems import Problem


def blame(form: forms.BaseForm, problem: Problem) -> None:
    """Shows the problem at the field it names, or above the form."""
    field = problem.extra.get("field")
    form.add_error(str(field) if field in form.fields else None, problem.message)


class InvitationForm(forms.Form):
    """User name and password of somebody who was invited."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        help_text="Letters, digits and @ . + - _",
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=password_validation.password_validators_help_text_html,
    )
    again = forms.CharField(
        label="Password, once more",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        if "again" in cleaned and cleaned.get("password") != cleaned["again"]:
            self.add_error("again", "The two passwords differ.")
        return cleaned


class KeyForm(forms.Form):
    """Name, scopes and lifetime of an API key."""

    LIFETIMES = {"30": "30 days", "90": "90 days", "365": "a year", "": "until revoked"}

    name = forms.CharField(label="What is it for?", max_length=100)
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=APIKey.Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one: a key without scopes may do nothing."},
    )
    lifetime = forms.ChoiceField(
        label="For how long?", choices=list(LIFETIMES.items()), required=False, initial="90"
    )

    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["lifetime"]
        return timezone.now() + timedelta(days=int(days)) if days else None


class CollectionForm(forms.Form):
    """Name, description and readers of a collection."""

    name = forms.CharField(max_length=200)
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))
    visibility = forms.ChoiceField(
        label="Who may read it?",
        choices=Collection.Visibility.choices,
        initial=Collection.Visibility.PRIVATE,
        widget=forms.RadioSelect,
    )


class MemberForm(forms.Form):
    """Somebody to add, by user name or e-mail address."""

    who = forms.CharField(label="User name or e-mail address", max_length=254)
    role = forms.ChoiceField(label="Role", choices=Membership.Role.choices, initial=Membership.Role.READER)

    def clean_who(self) -> User:
        who = self.cleaned_data["who"].strip()
        people = User.objects.filter(is_active=True)
        found = list(people.filter(username=who)[:1]) or list(people.filter(email__iexact=who)[:2])
        if not found:
            raise forms.ValidationError(
                "Nobody here has that name or address. An administrator can invite them."
            )
        if len(found) > 1:
            raise forms.ValidationError("Several people have that address: write the user name instead.")
        return found[0]
