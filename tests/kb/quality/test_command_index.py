"""`manage.py index validate|shadow|canary|questions`: what they print, what they refuse."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from kb.core.models import Collection, User
from kb.documents.models import Document
from kb.indexes.models import Index, IndexVersion
from kb.quality.models import QuestionSet
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
