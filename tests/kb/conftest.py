"""What tests of the API share: each person's browser and key, and what a problem looks like."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from kb.core.actions import create_api_key
from kb.core.models import APIKey, User

Headers = dict[str, str]


@pytest.fixture
def as_user() -> Callable[[User | None], Client]:
    """A client with the person's session, or with none; an error of the site is a response, no exception."""

    def signed_in(user: User | None = None) -> Client:
        client = Client(raise_request_exception=False)
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return signed_in


@pytest.fixture
def key() -> Callable[..., Headers]:
    """Headers with a new key of the person; all scopes unless some are named."""

    def headers(user: User, *scopes: str) -> Headers:
        _, secret = create_api_key(user, "test", scopes or APIKey.Scope.values)
        return {"Authorization": f"Bearer {secret}"}

    return headers


@pytest.fixture
def problem() -> Callable[..., dict[str, Any]]:
    """Asserts that a response is a well-formed problem with this status and code; returns it."""

    def checked(response: HttpResponse, status: int, code: str | None = None) -> dict[str, Any]:
        assert response.status_code == status, response.content
        assert response["Content-Type"] == "application/problem+json"
        body: dict[str, Any] = response.json()  # type: ignore[attr-defined]
        assert body["status"] == status
        assert body["title"]
        assert body["detail"]
        assert code in {None, body["code"]}
        return body

    return checked
