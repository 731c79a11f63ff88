"""The model is loaded before the first question, and a failure to do so stops nothing."""

import logging

import pytest

from kb.indexes import providers
from kb.indexes.models import EmbeddingModel
from kb.search.warming import warm
from retrieval.embedders import EmbeddingError


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
