"""Vectors of another model are found out though they have the right type and length."""

import pytest
from django.db import connection

from kb.core.models import Collection
from kb.indexes import auditing, providers, spaces
from kb.indexes.models import IndexVersion
from retrieval.embedders import EmbeddingError
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stocked(version: IndexVersion, collection: Collection) -> None:
    chunked(version, collection, [f"apple {number}" for number in range(50)])
    embed_all(version, Counting(version))


def test_what_its_model_made_is_of_its_space(version: IndexVersion) -> None:
    assert list(spaces.audit()) == []
    assert len(spaces.sample(version)[0]) == spaces.SAMPLE


def test_what_another_model_made_is_not(version: IndexVersion) -> None:
    with connection.cursor() as cursor:
        strange = "[" + ",".join(["1"] + ["0"] * (version.dimensions - 1)) + "]"
        cursor.execute(f"UPDATE {version.table} SET vector = %s", [strange])
    assert auditing.audit() == [], "the database alone cannot tell"
    (found,) = spaces.audit()
    assert (found.invariant, found.kind, found.count, found.unknown) == (6, "space", spaces.SAMPLE, False)


def test_a_model_that_is_away_is_said_to_be(version: IndexVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: IndexVersion) -> None:
        raise EmbeddingError("it does not answer")

    monkeypatch.setattr(providers, "embedder_for", away)
    (found,) = spaces.audit()
    assert (found.kind, found.unknown) == ("model", True)
    assert "not available: it does not answer" in found.message


def test_formats_that_may_not_be_comparable_are_said(version: IndexVersion, collection: Collection) -> None:
    chunked(version, collection, ["pear"])
    embed_all(version, Counting(version, number_format="int4"))
    assert [(one.kind, one.count) for one in spaces.audit()] == [("mixed", 1)]


def test_of_nothing_there_is_nothing_to_say(version: IndexVersion) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {version.table}")
    assert list(spaces.audit()) == []
