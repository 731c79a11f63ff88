"""Keys, sessions and nobody: who gets in, with which scope, and what a refusal says."""

from datetime import timedelta

import pytest
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client
from django.utils import timezone

from kb.core.actions import create_api_key, revoke_api_key
from kb.core.models import APIKey

ME = "/api/v1/me"


def test_a_key_acts_as_its_owner(client, alice, key):
    body = client.get(ME, headers=key(alice, "read")).json()
    assert (body["username"], body["key"], body["scopes"]) == ("alice", "test", ["read"])


def test_a_session_has_every_scope(as_user, alice):
    body = as_user(alice).get(ME).json()
    assert (body["username"], body["key"]) == ("alice", None)
    assert body["scopes"] == ["read", "ask", "write", "manage"]


def test_nobody_is_nobody(client, db, problem):
    response = client.get(ME)
    problem(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer fn_unknown", "Bearer", "Basic YTpi", "Bearer fn_\u00e9"])
@pytest.mark.parametrize("path", [ME, "/api/v1/collections"])
def test_a_bad_key_is_refused_where_nobody_would_be_let_in(client, db, problem, header, path):
    problem(client.get(path, headers={"Authorization": header}), 401, "unauthenticated")


def test_a_bad_key_is_refused_although_the_session_would_do(as_user, alice, problem):
    problem(as_user(alice).get(ME, headers={"Authorization": "Bearer fn_unknown"}), 401)


def test_a_revoked_key_is_refused(client, alice, problem):
    made, secret = create_api_key(alice, "old", ["read"])
    revoke_api_key(alice, made)
    problem(client.get(ME, headers={"Authorization": f"Bearer {secret}"}), 401)


def test_an_expired_key_is_refused(client, alice, problem):
    made, secret = create_api_key(alice, "old", ["read"], timezone.now() + timedelta(hours=1))
    APIKey.objects.filter(pk=made.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    problem(client.get(ME, headers={"Authorization": f"Bearer {secret}"}), 401)


def test_the_key_of_a_closed_account_is_refused(client, alice, key, problem):
    headers = key(alice)
    alice.is_active = False
    alice.save()
    problem(client.get(ME, headers=headers), 401)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "/api/v1/collections", "read"),
        ("get", "/api/v1/documents", "read"),
        ("get", "/api/v1/search?q=word", "read"),
        ("get", "/api/v1/chunks/1", "read"),
        ("get", "/api/v1/chunks/1/lineage", "read"),
        ("post", "/api/v1/ask", "ask"),
        ("post", "/api/v1/collections", "manage"),
        ("post", "/api/v1/collections/papers/documents", "write"),
        ("patch", "/api/v1/collections/papers", "manage"),
        ("delete", "/api/v1/collections/papers", "manage"),
        ("get", "/api/v1/collections/papers/members", "manage"),
        ("put", "/api/v1/collections/papers/members/bob", "manage"),
        ("delete", "/api/v1/collections/papers/members/bob", "manage"),
        ("put", "/api/v1/documents/00000000-0000-0000-0000-000000000000", "write"),
        ("delete", "/api/v1/documents/00000000-0000-0000-0000-000000000000", "write"),
        ("post", "/api/v1/documents/00000000-0000-0000-0000-000000000000/retry", "write"),
    ],
)
def test_another_scope_is_not_enough(client, alice, key, problem, method, path, scope):
    others = set(APIKey.Scope.values) - {scope}
    response = getattr(client, method)(path, headers=key(alice, *others))
    assert scope in problem(response, 403, "missing_scope")["detail"]


def test_a_session_needs_the_csrf_token_to_change_something(alice, problem):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    body = {"data": {"name": "Mine"}, "content_type": "application/json"}
    problem(client.post("/api/v1/collections", **body), 403, "csrf")
    client.cookies["csrftoken"] = token = _get_new_csrf_string()
    assert client.post("/api/v1/collections", **body, headers={"X-CSRFToken": token}).status_code == 201


def test_a_key_needs_no_csrf_token(alice, key):
    client = Client(enforce_csrf_checks=True)
    body = {"data": {"name": "Mine"}, "content_type": "application/json"}
    assert client.post("/api/v1/collections", **body, headers=key(alice)).status_code == 201


def test_the_use_of_a_key_is_noted_at_most_once_a_minute(client, alice, key):
    headers = key(alice)
    client.get(ME, headers=headers)
    first = APIKey.objects.get().last_used_at
    assert first is not None
    client.get(ME, headers=headers)
    assert APIKey.objects.get().last_used_at == first
    APIKey.objects.update(last_used_at=first - timedelta(minutes=2))
    client.get(ME, headers=headers)
    assert APIKey.objects.get().last_used_at >= first
