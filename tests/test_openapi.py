"""The API's description is a snapshot: a change of it is seen, and made on purpose.

Write it anew with `manage.py openapi > tests/openapi.json`.
"""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

SNAPSHOT = Path(__file__).parent / "openapi.json"


@pytest.fixture
def described():
    output = StringIO()
    call_command("openapi", stdout=output)
    return output.getvalue()


def test_the_description_is_the_snapshot(described):
    assert json.loads(described) == json.loads(SNAPSHOT.read_text()), (
        "run manage.py openapi > tests/openapi.json"
    )


def test_the_description_is_sorted_and_stable(described):
    assert described == SNAPSHOT.read_text()


def test_every_operation_says_who_may_call_it_and_what_a_problem_looks_like(described):
    for path, operations in json.loads(described)["paths"].items():
        for method, operation in operations.items():
            assert operation["security"], f"{method} {path}"
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            assert operation["operationId"].isidentifier()


def test_the_page_of_the_api_runs_under_the_strict_policy(client):
    response = client.get("/api/v1/docs")
    page = response.content.decode()
    assert response.status_code == 200
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "://" not in page.replace("http://www.w3.org", "")
    assert "<style" not in page
    assert all("src=" in tag or "application/json" in tag for tag in page.split("<script")[1:])


def test_the_root_of_the_api_leads_to_its_page(client):
    assert client.get("/api/v1/").url == "/api/v1/docs"
