"""`/healthz` is alive whatever else is; `/readyz` names what fails."""

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from kb.core import health
from kb.core.health import Check
from kb.core.models import Heartbeat


def test_alive(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_for_reading(client, db, path):
    assert client.post(path).status_code == 405


def test_ready(client, index, monkeypatch):
    monkeypatch.setattr(health, "broker", lambda: Check("broker", True))
    for queue in ("control", "parse", "embed"):
        Heartbeat.objects.create(worker=f"{queue}@here:1", queue=queue, pid=1, at=timezone.now())
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert set(response.json()["checks"].values()) == {"ok"}


def test_not_ready_says_what_fails(client, db, monkeypatch):
    monkeypatch.setattr(health, "broker", lambda: Check("broker", True))
    response = client.get("/readyz")
    checks = response.json()["checks"]
    assert (response.status_code, response.json()["status"]) == (503, "unavailable")
    assert {name for name, detail in checks.items() if detail != "ok"} == {
        "worker:control",
        "worker:parse",
        "worker:embed",
        "index",
    }
    assert response["Cache-Control"].startswith("max-age=0")


def test_not_ready_without_a_database(client, db, monkeypatch):
    monkeypatch.setattr(health, "database", lambda: Check("database", False, "PostgreSQL does not answer"))
    response = client.get("/readyz")
    assert (response.status_code, list(response.json()["checks"])) == (503, ["database"])


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_what_fails_is_told_without_names_of_hosts_and_accounts(client, db, monkeypatch, error):
    def refused():
        raise error('connection to "10.0.0.5" failed: no password for user "secret"')

    with monkeypatch.context() as patched:
        patched.setattr(connection, "cursor", refused)
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {"database": "PostgreSQL does not answer; the log says why."}
