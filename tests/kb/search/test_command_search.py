"""`manage.py search`: the same passages as everywhere, for a terminal and for programs."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from kb.core.models import Collection, User
from kb.indexes.models import Index
from kb.search.engine import search
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("search", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def bread(alice: User, collection: Collection, index: Index) -> None:
    for number in range(2):
        ingest(alice, collection, f"bread{number}.txt", "Bread is baked from flour." + "\n" * number)


def test_a_terminal_is_told_what_was_done(alice: User, bread: None) -> None:
    text = said("flouer", "--as", "alice", "--explain")
    assert "No passage has “flouer”: searched for “flour”." in text
    assert "(and 1 that say the same)" in text
    assert "No. 1 by meaning and no. 1 by words." in text
    assert "Nothing was found." in said("title:unknown", "--as", "alice")


def test_a_program_gets_the_same_as_everywhere(alice: User, bread: None) -> None:
    report = json.loads(said("baked bread", "--as", "alice", "--json"))
    (passage,) = search(alice, "baked bread").passages
    assert [(each["chunk_id"], each["score"]) for each in report["passages"]] == [
        (passage.chunk_id, passage.score)
    ]
    assert (report["words"], report["corrections"], report["profile"]) == ("baked bread", [], "Default 1")
    assert len(report["passages"][0]["duplicates"]) == 1


def test_a_profile_is_for_those_who_may_choose(alice: User, admin: User, bread: None) -> None:
    with pytest.raises(CommandError, match="may not choose"):
        said("bread", "--as", "alice", "--profile", "Default")
    assert json.loads(said("bread", "--as", "root", "--profile", "Default", "--json"))["passages"]
