"""Accounts, invitations, keys and collections in the admin."""

import re

import pytest
from django.core import mail
from django.urls import reverse

from kb.core.actions import create_api_key
from kb.core.models import APIKey, AuditEntry, Collection, Invitation, Membership, User, hashed
from kb.core.problems import Problem

INVITE = reverse("admin:core_invitation_add")
NEW_KEY = reverse("admin:core_apikey_add")


def test_an_invitation_shows_its_link_once_and_mails_it(as_user, admin):
    page = as_user(admin).post(INVITE, {"email": "dora@example.org"})
    invitation, (message,) = Invitation.objects.get(), mail.outbox
    link = next(word for word in message.body.split() if "/invitations/" in word)
    assert link in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert invitation.token_hash == hashed(link.rstrip("/").rsplit("/")[-1])
    assert message.to == ["dora@example.org"]
    for name in ("changelist", "change"):
        args = [invitation.pk] if name == "change" else []
        again = as_user(admin).get(reverse(f"admin:core_invitation_{name}", args=args))
        assert link not in again.content.decode()


def test_without_a_mail_server_the_link_is_passed_on_by_hand(as_user, admin, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    page = as_user(admin).post(INVITE, {"email": "dora@example.org"}).content.decode()
    assert "/invitations/" in page
    assert "could not be sent" in page


def test_an_address_that_is_none_is_not_invited(as_user, admin):
    assert as_user(admin).post(INVITE, {"email": "dora"}).status_code == 400
    assert not Invitation.objects.exists()


def test_a_key_is_shown_once(as_user, admin, alice):
    client = as_user(admin)
    page = client.post(NEW_KEY, {"owner": alice.pk, "name": "program", "scopes": ["read", "ask"]})
    key = APIKey.objects.get()
    assert (key.owner, key.scopes) == (alice, ["ask", "read"])
    assert "no-store" in page["Cache-Control"]
    (secret,) = re.findall(r"fn_[\w-]+", page.content.decode())
    assert key.hash == hashed(secret)
    for name, args in (("changelist", []), ("change", [key.pk])):
        assert secret not in client.get(reverse(f"admin:core_apikey_{name}", args=args)).content.decode()


def test_the_audit_log_names_who_made_a_key_for_somebody_else(as_user, admin, alice):
    as_user(admin).post(NEW_KEY, {"owner": alice.pk, "name": "program", "scopes": ["read"]})
    entry = AuditEntry.objects.get(verb="create key")
    assert (entry.actor, entry.detail["owner"]) == (admin, "alice")


def test_only_a_superuser_makes_keys_for_others(alice, bob):
    with pytest.raises(Problem) as refused:
        create_api_key(bob, "program", ["read"], actor=alice)
    assert refused.value.code == "forbidden"
    assert not APIKey.objects.exists()


@pytest.mark.parametrize(
    "body", [{"name": "", "scopes": ["read"]}, {"name": "x"}, {"name": "x", "scopes": ["all"]},
             {"name": "x", "scopes": ["read"], "expires_at": "2001-01-01"}]
)  # fmt: skip
def test_a_key_that_is_none_is_not_made(as_user, admin, body):
    assert as_user(admin).post(NEW_KEY, {"owner": admin.pk, **body}).status_code == 400
    assert not APIKey.objects.exists()


def test_keys_are_revoked(as_user, admin, alice, key, client):
    headers = key(alice, "read")
    body = {"action": "revoke", "_selected_action": [APIKey.objects.get().pk]}
    as_user(admin).post(reverse("admin:core_apikey_changelist"), body)
    assert APIKey.objects.get().revoked_at is not None
    assert client.get("/api/v1/me", headers=headers).status_code == 401


def test_a_collection_is_made_by_the_action(as_user, admin):
    body = {"name": "Notes", "slug": "notes", "description": "", "visibility": "private"}
    response = as_user(admin).post(reverse("admin:core_collection_add"), body)
    assert response.status_code == 302
    assert Collection.objects.get().owner == admin
    assert AuditEntry.objects.filter(verb="create").exists()


def members(*rows, initial=0):
    form = {"memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": initial}
    for number, row in enumerate(rows):
        form |= {f"memberships-{number}-{name}": value for name, value in row.items()}
    return form


@pytest.fixture
def change(as_user, admin, collection):
    """Posts the collection's page with these members."""

    def post(rows, initial=1, **fields):
        body = {"name": "Papers", "description": "", "visibility": "members", **fields}
        path = reverse("admin:core_collection_change", args=[collection.pk])
        return as_user(admin).post(path, body | members(*rows, initial=initial))

    return post


def row(collection, **fields):
    membership = Membership.objects.get()
    return {
        "id": membership.pk,
        "collection": collection.pk,
        "user": membership.user.pk,
        "role": "reader",
        **fields,
    }


def test_members_are_added_changed_and_removed(change, collection, charlie):
    new = {"id": "", "collection": collection.pk, "user": charlie.pk, "role": "editor"}
    assert change([row(collection, role="editor"), new]).status_code == 302
    assert set(Membership.objects.values_list("user__username", "role")) == {
        ("bob", "editor"),
        ("charlie", "editor"),
    }
    Membership.objects.filter(user=charlie).delete()
    change([row(collection, DELETE="on")])
    assert not Membership.objects.exists()
    assert AuditEntry.objects.filter(verb="remove member").exists()


def test_an_exchanged_member_loses_the_membership(change, collection, charlie):
    change([row(collection, user=charlie.pk)])
    assert [membership.user for membership in Membership.objects.all()] == [charlie]


def test_a_change_that_the_action_refuses_is_said_and_undone(change, collection, alice):
    response = change([row(collection, user=alice.pk)], name="Renamed")
    assert response.status_code == 302
    collection.refresh_from_db()
    assert (collection.name, Membership.objects.get().user.username) == ("Papers", "bob")


def test_a_collection_is_deleted_by_the_action(as_user, admin, collection):
    path = reverse("admin:core_collection_delete", args=[collection.pk])
    assert "Papers, with all its documents" in as_user(admin).get(path).content.decode()
    as_user(admin).post(path, {"post": "yes"})
    assert not Collection.objects.exists()
    assert AuditEntry.objects.filter(verb="delete").exists()


def test_a_password_is_changed(as_user, admin, alice):
    path = reverse("admin:auth_user_password_change", args=[alice.pk])
    new = "a-long-new-password"
    as_user(admin).post(path, {"password1": new, "password2": new, "usable_password": "true"})
    assert User.objects.get(username="alice").check_password(new)


def test_an_account_is_made(as_user, admin):
    body = {"username": "dora", "email": "dora@example.org", "usable_password": "true",
            "password1": "a-long-new-password", "password2": "a-long-new-password"}  # fmt: skip
    assert as_user(admin).post(reverse("admin:core_user_add"), body).status_code == 302
    assert User.objects.filter(username="dora", is_staff=False).exists()
