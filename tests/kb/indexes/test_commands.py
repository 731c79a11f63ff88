"""The life of a version from the command line."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from kb.core.models import AuditEntry, Collection, Heartbeat, User
from kb.indexes import commands, dropping, embedding_queue, embedding_table
from kb.indexes.models import Index, IndexTransition, IndexVersion
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import another_space, beside, cuttable, report, state_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def stocked(version: IndexVersion, collection: Collection, admin: User) -> None:
    chunked(version, collection, ["apple and cheese", "pear and bread"])
    embed_all(version, Counting(version))


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("index", *arguments, stdout=out)
    return out.getvalue()


def given(*arguments: str) -> Any:
    return json.loads(said(*arguments, "--json"))


def test_the_whole_life(version: IndexVersion, index: Index, admin: User) -> None:
    cuttable(version.model, 256)
    made = given("build", "--dimensions", "256", "--here", "--reason", "smaller")
    assert (made["version"], made["state"], made["done"], made["derived_from"]) == (
        "default/2", "validating", 2, "Default v1",
    )  # fmt: skip
    second = IndexVersion.objects.get(number=2)
    report(second)
    assert given("promote", "2", "--reason", "as good")["state"] == "live"
    assert state_of(version) == "retired"
    assert given("rollback")["version"] == "default/1"
    assert given("retire", "default/2")["state"] == "dropped"
    assert {one.actor for one in IndexTransition.objects.filter(version=second)} == {admin, None}
    assert given("audit") == {"ok": True, "findings": []}


def test_another_model_is_embedded(version: IndexVersion) -> None:
    another_space(64)
    IndexVersion.objects.get()
    made = given("build", "--model", "hashing", "--here")
    assert (made["dimensions"], made["state"], made["derived_from"]) == (64, "validating", None)


def test_list_names_every_version(version: IndexVersion) -> None:
    beside(version, "retired")
    rows = given("list")
    assert [(row["version"], row["state"], row["done"], row["total"]) for row in rows] == [
        ("default/1", "live", 2, 2),
        ("default/2", "retired", 0, 2),
    ]
    assert rows[1]["moves"] == ["live", "dropped"]
    text = said("list")
    assert "default/1      live       hashing, 384 × halfvec; 2 of 2 chunks" in text


def test_pause_resume_cancel(version: IndexVersion) -> None:
    given("build", "--m", "8")
    assert given("pause", "2")["state"] == "paused"
    assert given("resume", "2")["state"] == "building"
    assert given("cancel", "2", "--as", "root")["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("promote", "7"), "no such index version"),
        (("promote", "x"), "names no version"),
        (("cancel", "1"), "live"),
        (("build", "--model", "none"), "there are: hashing"),
        (("build", "--index", "none"), "no such index"),
        (("rollback",), "No earlier version"),
        (("build", "--as", "nobody"), "no active user"),
    ],
)
def test_refusals_are_sentences(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        said(*arguments)


def test_waiting_ends_when_no_worker_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "PATIENCE_SECONDS", -1)
    with pytest.raises(CommandError, match="No worker"):
        said("build", "--m", "8", "--wait")


def test_waiting_tells_how_it_ended(version: IndexVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    Heartbeat.objects.create(worker="embed@here:1", queue="embed", pid=1, at=timezone.now())

    def fail(_: float) -> None:
        IndexVersion.objects.filter(state="building").update(state="failed", error="no model")

    monkeypatch.setattr(commands.time, "sleep", fail)
    with pytest.raises(SystemExit):
        said("build", "--m", "8", "--wait")


def test_the_end_of_a_version_is_waited_for_until_its_table_is_gone(
    version: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    Heartbeat.objects.create(worker="parse@here:1", queue="parse", pid=1, at=timezone.now())
    looked = []

    def end(_: float) -> None:
        looked.append(embedding_table.exists(made))
        dropping.end_due()
        dropping.drop_tables(timedelta(0))

    monkeypatch.setattr(commands.time, "sleep", end)
    for command, state in (("cancel", "building"), ("retire", "retired")):
        made = beside(version, state)
        assert given(command, str(made.number), "--wait")["bytes"] == 0
        assert not embedding_table.exists(made)
    assert looked == [True, True]


def test_a_promotion_waits_for_what_came_last(version: IndexVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    Heartbeat.objects.create(worker="embed@here:1", queue="embed", pid=1, at=timezone.now())
    made = beside(version, "validating")
    report(made)
    embedding_queue.enqueue_missing(made)
    monkeypatch.setattr(commands.time, "sleep", lambda _: embed_all(made, Counting(made)))
    told = given("promote", "2", "--wait")
    assert (told["state"], told["done"]) == ("live", 2)


def test_an_audit_that_finds_something_says_so_by_its_status(version: IndexVersion) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {version.table}")
    with pytest.raises(SystemExit):
        said("audit")
    repaired = said("audit", "--repair")
    assert "2 missing" in repaired
    assert repaired.rstrip().endswith("Repaired.")
    assert AuditEntry.objects.get(verb="repair").detail == {"kind": "missing", "count": 2}
    assert "nothing is mixed" in said("audit")
