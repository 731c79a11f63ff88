"""`manage.py index validate|shadow|canary|questions`: what they print, what they refuse."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection

from kb.core.models import Collection, User
from kb.documents.models import Document
from kb.indexes import lifecycle
from kb.indexes.models import Index, IndexVersion
from kb.quality import commands
from kb.quality.models import QuestionSet
from kb.search.models import Query, ShadowComparison
from tests.conftest import ingest
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("index", *arguments, stdout=out)
    return out.getvalue()


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def version(admin: User, alice: User, collection: Collection, index: Index) -> IndexVersion:
    ingest(alice, collection, "bread.txt", "Bread is baked from flour, water and salt.")
    return candidate(index)


def test_validate_shadow_and_canary_one_after_the_other(version: IndexVersion) -> None:
    report = told("validate", "2")
    assert (report["verdict"], report["lets_on"], report["against"], report["number"]) == ("pass", True, 1, 2)
    assert report["figures"]["vectors"]["count"] == 1
    text = run("validate", "default/2")
    assert "Default v2 against Default v1: passed" in text
    assert "passed  recall" in text
    assert told("shadow", "2", "--share", "0.5")["shadow_share"] == 0.5
    assert "serves 5 % of the readers" in run("canary", "2", "--percent", "5", "--reason", "looks good")
    version.refresh_from_db()
    assert (version.state, version.canary_percent) == (State.CANARY, 5)


def test_a_version_that_fails_ends_with_status_1_and_can_be_overridden(version: IndexVersion) -> None:
    with pytest.raises(CommandError, match="has no report"):
        run("validate", "2", "--override", "because")
    with connection.cursor() as cursor:
        cursor.execute(f'DELETE FROM "{version.table}"')
    out = StringIO()
    with pytest.raises(CommandError, match="may not go on"):
        call_command("index", "validate", "2", "--json", stdout=out)
    assert json.loads(out.getvalue())["verdict"] == "fail"
    assert told("validate", "2", "--override", "an empty one will do")["lets_on"]
    assert told("canary", "2")["canary_percent"] == 1


def between_looks(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> list[float]:
    """Has this happen while a command waits for the first time; gives how long it waited each time."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 1:
            happens()

    monkeypatch.setattr(commands.time, "sleep", sleep)
    return waited


def test_shadow_waits_for_queries(version: IndexVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    run("validate", "2")

    def asked() -> None:
        query = Query.objects.create(kind="search", text="?")
        ShadowComparison.objects.create(
            query=query, version=version, against=version, overlap=1, rbo=1, live_ms=1, candidate_ms=1
        )

    waited = between_looks(monkeypatch, asked)
    assert told("shadow", "2", "--wait", "1")["state"] == "shadow"
    assert len(waited) == 1


def test_canary_waits_until_it_may_be_promoted(
    version: IndexVersion, monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> None:
    settings.CANARY_STEP_HOURS = settings.CANARY_STEP_QUERIES = 0
    run("validate", "2")
    waited = between_looks(
        monkeypatch, lambda: IndexVersion.objects.filter(pk=version.pk).update(canary_percent=50)
    )
    assert told("canary", "2", "--wait")["canary_percent"] == 50
    assert len(waited) == 1


def test_waiting_ends_with_a_version_that_goes_back(
    version: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("validate", "2")
    between_looks(monkeypatch, lambda: lifecycle.move(version.pk, State.FAILED, None, "It was too slow."))
    with pytest.raises(CommandError, match=r"failed now\. It was too slow"):
        run("canary", "2", "--wait")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("validate", "7"), "no such index version"),
        (("validate", "papers/1"), "no such index version"),
        (("validate", "two"), "names no version"),
        (("validate", "1"), "is live"),
        (("shadow", "2"), "No report"),
        (("shadow", "2", "--share", "2"), "between 0 and 1"),
        (("canary", "2"), "No report"),
        (("canary", "2", "--percent", "30"), "invalid choice"),
        (("questions",), "required"),
        (("questions", "--beir", "/nonexistent"), "cannot be read"),
        (("questions", "--demo", "--index", "none"), "no such index"),
        (("questions", "--demo"), "None of the judged documents"),
        (("validate", "2", "--as", "nobody"), "no active user"),
        ((), "required"),
    ],
)
def test_refusals_are_sentences(version: IndexVersion, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*arguments)


def test_questions_are_imported(
    version: IndexVersion, collection: Collection, index: Index, tmp_path: Path
) -> None:
    files = {
        "corpus.jsonl": json.dumps({"_id": "bread", "title": "", "text": "x"}),
        "queries.jsonl": json.dumps({"_id": "q", "text": "How is bread baked?"}),
        "qrels.tsv": "query-id\tcorpus-id\tscore\nq\tbread\t1\nq\tnone\t1",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    made = told("questions", "--beir", str(tmp_path), "--name", "Tiny")
    assert made == {
        "question_set": "Tiny", "index": "default", "questions": 1, "judgements": 1, "unknown": ["none"],
    }  # fmt: skip
    assert QuestionSet.objects.get().questions.get().judgements.get().document.filename == "bread.txt"
    assert "1 judged documents are not in the index" in run("questions", "--beir", str(tmp_path))
    Document.objects.create(collection=collection, filename="collections.md")
    assert told("questions", "--demo")["questions"] >= 1
