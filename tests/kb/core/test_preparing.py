"""What `manage.py prepare` makes, and what it says where the database will not do."""

import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, connections

from kb.core import preparing
from kb.core.models import AuditEntry, User
from kb.core.preparing import alone, extension_refusal, first_administrator, old_extension


@pytest.mark.django_db
def test_the_first_administrator_is_made_once() -> None:
    login = first_administrator()
    assert login
    user = User.objects.get(username=login.username)
    assert user.is_superuser
    assert user.check_password(login.password)
    assert len(login.password) >= 16
    assert AuditEntry.objects.filter(actor=user, verb="create").exists()
    assert first_administrator() is None


@pytest.mark.django_db
def test_a_name_that_is_taken_is_left_alone() -> None:
    User.objects.create_user("admin", password="an ordinary person")
    login = first_administrator()
    assert login
    assert login.username == "admin2"
    assert not User.objects.get(username="admin").is_superuser


def refusal(error: psycopg.Error, text: str) -> str | None:
    django_error = ProgrammingError(text)
    django_error.__cause__ = error.__class__(text)
    return extension_refusal(django_error)


@pytest.mark.parametrize(
    ("error", "text", "says"),
    [
        (
            psycopg.errors.InsufficientPrivilege(),
            'permission denied to create extension "vector"',
            "superuser",
        ),
        (psycopg.errors.FeatureNotSupported(), 'extension "vector" is not available', "no pgvector"),
        (
            psycopg.errors.UndefinedFile(),
            'could not open extension control file "…/vector.control"',
            "no pgvector",
        ),
    ],
)
def test_a_refused_extension_says_what_to_do(error: psycopg.Error, text: str, says: str) -> None:
    sentence = refusal(error, text)
    assert sentence
    assert says in sentence
    assert "CREATE EXTENSION vector;" in sentence


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (psycopg.errors.InsufficientPrivilege(), "permission denied for schema public"),
        (psycopg.errors.UndefinedTable(), 'relation "vector_of_things" does not exist'),
    ],
)
def test_other_errors_are_not_explained_away(error: psycopg.Error, text: str) -> None:
    assert refusal(error, text) is None


@pytest.mark.parametrize(
    ("version", "old"),
    [("0.7.4", True), ("0.8.3", True), ("0.8.4", False), ("0.8.10", False), ("0.9", False), ("1.0.0", False)],
)
def test_old_extension(version: str, old: bool) -> None:
    assert bool(old_extension(version)) is old


@pytest.mark.django_db
def test_the_extension_in_use_is_new_enough() -> None:
    assert old_extension(preparing.pgvector_version()) is None


@pytest.fixture
def another_connection() -> Iterator[psycopg.Connection]:
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        yield other


@pytest.mark.django_db(transaction=True)
def test_one_process_at_a_time(
    another_connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one asks until the first is done; it holds no snapshot while it waits."""
    another_connection.execute("SELECT pg_advisory_lock(%s)", [preparing.LOCK])
    asked = []

    def wait(seconds: float) -> None:
        states = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        row = another_connection.execute(states, [preparing.LOCK]).fetchone()
        assert row
        asked.append(row[0])
        another_connection.execute("SELECT pg_advisory_unlock(%s)", [preparing.LOCK])

    monkeypatch.setattr(preparing.time, "sleep", wait)
    with alone():
        free = another_connection.execute("SELECT pg_try_advisory_lock(%s)", [preparing.LOCK]).fetchone()
        assert free == (False,)
    assert asked == [0]
    assert another_connection.execute("SELECT pg_try_advisory_lock(%s)", [preparing.LOCK]).fetchone() == (
        True,
    )


@pytest.mark.django_db(transaction=True)
def test_prepare_twice(index: object, settings: object, tmp_path: Path) -> None:
    """Says the login once, and nothing to the person afterwards."""
    settings.STATIC_ROOT = tmp_path / "static"  # type: ignore[attr-defined]
    first, second = StringIO(), StringIO()
    call_command("prepare", stdout=first, stderr=StringIO())
    call_command("prepare", stdout=second, stderr=StringIO())
    assert first.getvalue().startswith("Sign in as admin with the password ")
    assert second.getvalue() == ""
    assert preparing.static_is_current()


def test_static_files_that_changed_are_collected_again(settings: object, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "page.css").write_text("a {}")
    settings.STATICFILES_DIRS = [sources]  # type: ignore[attr-defined]
    settings.STATIC_ROOT = tmp_path / "static"  # type: ignore[attr-defined]
    (tmp_path / "static").mkdir()
    assert not preparing.static_is_current()
    preparing.collected().write_text(preparing.static_sources())
    assert preparing.static_is_current()
    os.utime(sources / "page.css", (1, 1))
    assert not preparing.static_is_current()


@pytest.mark.django_db
def test_a_database_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unreachable = connections.create_connection("default")
    unreachable.settings_dict = unreachable.settings_dict | {"HOST": str(tmp_path)}
    monkeypatch.setattr("kb.core.management.commands.prepare.connection", unreachable)
    with pytest.raises(CommandError, match=r"cannot reach the database \(DATABASE_URL\)"):
        call_command("prepare")
