"""The model is loaded before the first question, and a failure to do so stops nothing."""

import logging

import pytest
from django.db import OperationalError

from kb.indexes import providers
from kb.indexes.models import EmbeddingModel, IndexVersion
from kb.search.warming import look, warm
from retrieval.embedders import EmbeddingError
from tests.kb.candidates import State, candidate


class Counting:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts, kind):
        self.asked += [kind]


def test_the_live_model_embeds_once(index, monkeypatch) -> None:
    counting = Counting()
    monkeypatch.setattr(providers, "embedder", lambda model: counting)
    warm()
    assert counting.asked == ["query"]


def test_a_failure_is_logged(index, monkeypatch, caplog) -> None:
    def broken(model: EmbeddingModel):
        raise EmbeddingError("no weights")

    monkeypatch.setattr(providers, "embedder", broken)
    with caplog.at_level(logging.ERROR):
        warm()
    assert "no weights" in caplog.text


@pytest.mark.django_db
def test_without_an_index_there_is_nothing_to_do(monkeypatch) -> None:
    monkeypatch.setattr(providers, "embedder", lambda _: pytest.fail("no model is live"))
    warm()


@pytest.mark.django_db(transaction=True)
def test_what_may_serve_next_is_loaded_once_and_the_live_one_first(index, monkeypatch) -> None:
    candidate(index)
    candidate(index, State.CANCELLED, dimensions=32, number=3)
    asked: list[str] = []

    class Naming(Counting):
        def __init__(self, name: str) -> None:
            self.name = name

        def embed(self, texts, kind):
            asked.append(self.name)

    monkeypatch.setattr(providers, "embedder", lambda model: Naming(model.name))
    warmed: set[int] = set()
    look(warmed)
    assert asked == ["hashing", "hashing-64"]
    look(warmed)
    assert asked == ["hashing", "hashing-64"]
    candidate(index, State.SHADOW, dimensions=16, number=4)
    asked.clear()
    look(warmed)
    assert asked == ["hashing-16"]


@pytest.mark.django_db(transaction=True)
def test_what_could_not_be_loaded_is_tried_again(index, monkeypatch) -> None:
    def broken(model: EmbeddingModel):
        raise EmbeddingError("no weights")

    warmed: set[int] = set()
    with monkeypatch.context() as patched:
        patched.setattr(providers, "embedder", broken)
        assert not look(warmed)
    assert warmed == set()
    monkeypatch.setattr(providers, "embedder", lambda model: Counting())
    assert look(warmed)
    assert warmed == {index.live_version_id}


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_asked_again(index, monkeypatch, caplog) -> None:
    def away(**_: object) -> None:
        raise OperationalError("the database is starting up")

    monkeypatch.setattr(IndexVersion.objects, "filter", away)
    warmed: set[int] = set()
    with caplog.at_level(logging.WARNING):
        look(warmed)
    assert "starting up" in caplog.text
    monkeypatch.undo()
    look(warmed)
    assert len(warmed) == 1
