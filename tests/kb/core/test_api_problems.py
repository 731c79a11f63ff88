"""Whatever goes wrong under /api/v1 is answered by a problem, and tells nothing of the inside."""

import psycopg
import pytest
from django.db import OperationalError

from kb.core.models import Collection
from kb.core.problem_json import body, from_any
from kb.core.problems import Problem


@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/collections/", "/api/v1/documents/17"])
def test_an_unknown_address(client, db, problem, method, path):
    problem(getattr(client, method)(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("delete", "/api/v1/collections"),
        ("patch", "/api/v1/search"),
        ("get", "/api/v1/ask"),
        ("put", "/api/v1/me"),
    ],
)
def test_an_unknown_method(client, db, problem, method, path):
    response = getattr(client, method)(path)
    problem(response, 405, "method_not_allowed")
    assert response["Allow"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_object(as_user, alice, problem, content):
    response = as_user(alice).post("/api/v1/collections", content, content_type="application/json")
    assert response.status_code in {400, 422}
    problem(response, response.status_code)


def test_a_body_that_is_too_large(as_user, alice, problem):
    content = b'{"name": "' + b"x" * 3_000_000 + b'"}'
    problem(as_user(alice).post("/api/v1/collections", content, content_type="application/json"), 413)


def test_an_address_with_a_nul(client, db, problem):
    response = client.get("/api/v1/collections/%00")
    assert response.status_code in {404, 422}
    problem(response, response.status_code)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("secret"), 500),
        (OperationalError("secret"), 503),
        (psycopg.OperationalError("secret"), 503),
    ],
)
def test_an_error_inside_tells_nothing(as_user, alice, problem, monkeypatch, error, status):
    def fail(*_args):
        raise error

    monkeypatch.setattr(type(Collection.objects.all()), "visible_to", fail)
    found = problem(as_user(alice).get("/api/v1/collections"), status)
    assert "secret" not in str(found)


def test_extras_stand_beside_the_standard_members_and_never_replace_them():
    found = body(Problem("code", "Words.", 409, title="Other", detail="other", field="name"))
    assert (found["status"], found["detail"], found["field"]) == (409, "Words.", "name")


def test_a_more_special_refusal_is_known_by_its_family():
    class Special(OperationalError):
        pass

    assert from_any(Special()).status == 503
