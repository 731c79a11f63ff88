"""What is wrong with the site, and not with the command, is said in a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import ProgrammingError

from kb.core import command_line
from tests.places import ROOT


def fail(argv: list[str]) -> None:
    raise ProgrammingError('relation "core_user" does not exist')


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "execute_from_command_line", fail)
    monkeypatch.setattr(command_line, "needs_embedded_database", lambda argv: False)


def test_a_database_that_is_not_prepared(failing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "migrations_wait", lambda: True)
    with pytest.raises(SystemExit, match="not prepared for this version"):
        command_line.run(["manage.py", "search", "bees"])


def test_an_error_of_the_program_stays_one(failing: None, db: None) -> None:
    with pytest.raises(ProgrammingError):
        command_line.run(["manage.py", "search", "bees"])


@pytest.mark.slow
def test_commands_on_a_fresh_machine(tmp_path: Path) -> None:
    ours = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}

    def said(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment | {"KB_HOME": str(tmp_path / "home"), "EMBEDDER": "hashing"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stderr

    for command in (["search", "bees"], ["index", "list"], ["ingest", "README.md"]):
        code, error = said(*command)
        assert (code, "run `manage.py prepare`" in error, "Traceback" in error) == (1, True, False), error
    assert said("prepare")[0] == 0
    assert said("index", "list") == (0, "")


def test_commands_and_workers_start_without_what_few_of_them_need() -> None:
    """The packages of a language model's client, of the parsers and of the admin: a second of each start."""
    code = (
        "import sys, django; django.setup(); import kb.documents.tasks, kb.indexes.tasks, kb.quality.tasks; "
        "print(sorted({'openai', 'pptx', 'openpyxl', 'docx', 'torch', 'unfold.admin'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
