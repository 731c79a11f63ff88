"""Pages of accounts, invitations, API keys and collections' settings and members."""

import sys

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import LoginView, PasswordChangeView, PasswordResetView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from kb.core import actions
from kb.core.forms import CollectionForm, InvitationForm, KeyForm, MemberForm, blame
from kb.core.models import APIKey, Collection, Invitation, Membership, User, hashed
from kb.core.problems import Problem, is_full, not_stored


def server_error(request: HttpRequest) -> HttpResponse:
    """As Django's own page; a disk that is full is told, since a form with a file meets it before any view does."""
    error = sys.exc_info()[1]
    if isinstance(error, OSError) and is_full(error):
        problem = not_stored(error)
        return HttpResponse(problem.message, status=problem.status, content_type="text/plain; charset=utf-8")
    return defaults.server_error(request)


def person(request: HttpRequest) -> User:
    """Who is signed in; only for views that let nobody else in."""
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


def owned_collection(request: HttpRequest, slug: str) -> Collection:
    """404 for whoever may not know of it, 403 for whoever may read but not change it."""
    collection = get_object_or_404(Collection.objects.visible_to(request.user), slug=slug)
    if not Collection.objects.owned_by(request.user).filter(pk=collection.pk).exists():
        raise PermissionDenied("Only the owner of a collection may do this.")
    return collection


class SignIn(LoginView):
    redirect_authenticated_user = True


class ChangePassword(PasswordChangeView):
    template_name = "registration/password_change.html"
    success_url = reverse_lazy("account")

    def form_valid(self, form: "PasswordChangeForm") -> HttpResponse:
        messages.success(self.request, "Your password is changed.")
        return super().form_valid(form)


class ResetPassword(PasswordResetView):
    # Not the name that the request was sent to: whoever asks for the mail could choose it.
    extra_email_context = {"site": settings.SITE_URL}


@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Where an invited person makes their account, and is signed in."""
    invited = Invitation.objects.open().filter(token_hash=hashed(token)).first()
    if invited is None:
        return render(request, "registration/invitation_closed.html", status=404)
    form = InvitationForm(request.POST or None)
    if form.is_valid():
        try:
            user = actions.accept_invitation(
                token, form.cleaned_data["username"], form.cleaned_data["password"]
            )
        except Problem as problem:
            blame(form, problem)
        else:
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
            return redirect("ask")
    context = {"form": form, "invitation": invited}
    return render(request, "registration/invitation.html", context, status=400 if form.errors else 200)


@login_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """The person's own data and API keys; a new key's secret is in the response to its form alone."""
    form, made = KeyForm(request.POST or None), {}
    if form.is_valid():
        try:
            key, secret = actions.create_api_key(
                person(request), form.cleaned_data["name"], form.cleaned_data["scopes"], form.expires_at()
            )
        except Problem as problem:
            blame(form, problem)
        else:
            form, made = KeyForm(), {"new_key": key, "secret": secret}
    keys = APIKey.objects.filter(owner=person(request))
    context = {"section": "account", "form": form, "keys": keys, "now": timezone.now(), **made}
    return render(request, "core/account.html", context, status=400 if form.errors else 200)


@login_required
@require_POST
def key_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(APIKey, pk=pk, owner=person(request))
    actions.revoke_api_key(person(request), key)
    messages.success(request, f"The key “{key.name}” is revoked.")
    return redirect("account")


@login_required
def collection_create(request: HttpRequest) -> HttpResponse:
    form = CollectionForm(request.POST or None)
    if form.is_valid():
        try:
            collection = actions.create_collection(person(request), **form.cleaned_data)
        except Problem as problem:
            blame(form, problem)
        else:
            return redirect("collection", collection.slug)
    context = {"section": "library", "form": form}
    return render(request, "core/collection_form.html", context, status=400 if form.errors else 200)


@login_required
def collection_settings(request: HttpRequest, slug: str) -> HttpResponse:
    collection = owned_collection(request, slug)
    fields = ("name", "description", "visibility")
    form = CollectionForm(
        request.POST or None, initial={field: getattr(collection, field) for field in fields}
    )
    if form.is_valid():
        try:
            actions.change_collection(person(request), collection, **form.cleaned_data)
        except Problem as problem:
            blame(form, problem)
        else:
            messages.success(request, "Saved.")
            return redirect("collection", collection.slug)
    context = {"section": "library", "form": form, "collection": collection}
    return render(request, "core/collection_form.html", context, status=400 if form.errors else 200)


@login_required
def collection_delete(request: HttpRequest, slug: str) -> HttpResponse:
    collection = owned_collection(request, slug)
    if request.method == "POST":
        actions.delete_collection(person(request), collection)
        messages.success(request, f"The collection “{collection.name}” is deleted.")
        return redirect("library")
    return render(request, "core/collection_delete.html", {"section": "library", "collection": collection})


@login_required
def collection_members(request: HttpRequest, slug: str) -> HttpResponse:
    """Who may read or edit; one form adds, the small ones change and remove."""
    collection = owned_collection(request, slug)
    adding = request.POST.get("act") == "add"
    form = MemberForm(request.POST if adding else None)
    if request.method == "POST" and (not adding or form.is_valid()):
        try:
            change_member(person(request), collection, request, form)
        except Problem as problem:
            form = form if adding else MemberForm({})
            blame(form, problem)
        else:
            return redirect("collection-members", collection.slug)
    context = {
        "section": "library",
        "form": form,
        "collection": collection,
        "memberships": collection.memberships.select_related("user").order_by("user__username"),
        "roles": Membership.Role.choices,
    }
    return render(request, "core/members.html", context, status=400 if form.errors else 200)


def change_member(actor: User, collection: Collection, request: HttpRequest, form: MemberForm) -> None:
    if request.POST.get("act") == "add":
        user = form.cleaned_data["who"]
        actions.set_member(actor, collection, user, form.cleaned_data["role"])
        messages.success(request, f"{user} is now a member.")
        return
    chosen = request.POST.get("user", "")
    user = get_object_or_404(
        User,
        memberships__collection=collection,
        pk=int(chosen) if chosen.isdecimal() and len(chosen) < 19 else None,
    )
    if request.POST.get("act") == "remove":
        actions.remove_member(actor, collection, user)
        messages.success(request, f"{user} is no longer a member.")
    else:
        actions.set_member(actor, collection, user, request.POST.get("role", ""))
        messages.success(request, f"The role of {user} is changed.")
