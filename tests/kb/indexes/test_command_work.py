"""`manage.py work`: shows and steers an upload, a collection or a document, for who may."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.core.management.base import CommandError

from kb.core.models import Collection, User
from kb.documents.actions import add_document, open_upload
from kb.documents.models import Upload
from kb.indexes.models import Index
from tests.conftest import work_off

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: object) -> str:
    out = StringIO()
    call_command("work", *map(str, arguments), stdout=out)
    return out.getvalue()


def told(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def upload(alice: User, collection: Collection, index: Index) -> Upload:
    """A document that is ready, one that failed, one that waits."""
    made = open_upload(alice, collection, Upload.Origin.COMMAND, "Insects")
    for name, content in (("bees.md", b"Bees dance."), ("empty.txt", b"  ")):
        add_document(alice, collection, ContentFile(content, name), upload=made)
    work_off()
    add_document(alice, collection, ContentFile(b"Wasps.", "wasps.txt"), upload=made)
    return made


def test_it_is_shown(upload: Upload) -> None:
    said = run("show", "--upload", upload.pk, "--as", "alice")
    assert said.startswith("Insects: 3 documents (1 queued, 1 ready, 1 failed); ")
    assert "1 failed (empty): There is no text in the file." in said
    shown = told("show", "--collection", "papers", "--as", "alice")
    assert (shown["documents"], shown["states"]["queued"], shown["documents_ahead"]) == (3, 1, 0)
    assert [cause["code"] for cause in shown["failures"]] == ["empty"]


@pytest.mark.parametrize("scope", ["upload", "collection"])
def test_it_is_steered(upload: Upload, scope: str) -> None:
    who = [f"--{scope}", upload.pk if scope == "upload" else "papers", "--as", "alice"]
    waiting = upload.documents.get(filename="wasps.txt")
    assert run("pause", *who).startswith("Paused: 1 document of")
    waiting.refresh_from_db()
    assert waiting.paused
    assert told("resume", *who) == {"documents": 1}
    assert told("cancel", *who) == {"documents": 1}
    assert told("retry", *who, "--cause", "timeout") == {"documents": 0}
    assert told("retry", *who) == {"documents": 2}
    assert told("reparse", *who) == {"documents": 1}
    assert set(upload.documents.values_list("state", flat=True)) == {"queued"}


def test_one_document(upload: Upload) -> None:
    ready = upload.documents.get(filename="bees.md")
    assert run("reparse", "--document", ready.pk, "--as", "alice").startswith(
        "To be parsed again: 1 document of"
    )
    with pytest.raises(CommandError, match="Only a failed or cancelled document"):
        run("retry", "--document", ready.pk, "--as", "alice")


def test_who_may_not(upload: Upload, bob: User, charlie: User) -> None:
    with pytest.raises(CommandError, match="ask its owner"):
        run("cancel", "--upload", upload.pk, "--as", "bob")
    for scope in (["--upload", upload.pk], ["--collection", "papers"]):
        with pytest.raises(CommandError, match="you may not see it"):
            run("show", *scope, "--as", "charlie")
