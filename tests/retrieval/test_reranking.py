"""Reranking by a tiny model made here: its scores, its budget, and what happens without them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from retrieval import reranking
from retrieval.reranking import CrossEncoderReranker, NotReranked
from tests.retrieval.embedders.tiny import SPECIAL, WORDS, tiny_tokenizer

TEXTS = ["bread is baked from flour", "cats sleep", "the index of a database", "dogs"]
PLENTY = 60_000.0


def tiny_cross_encoder(directory: Path, labels: int = 1) -> Path:
    """A BERT of one layer with random weights that gives `labels` numbers for a pair."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, num_labels=labels,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(directory)
    PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=64,
    ).save_pretrained(directory)  # fmt: skip
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


def test_scores_are_the_models_own_whatever_the_batches(model: Path) -> None:
    expected = CrossEncoder(str(model), device="cpu").predict([("flour", text) for text in TEXTS])
    for batch_size in (1, 3, 8):
        found = CrossEncoderReranker(str(model), batch_size=batch_size).scores("flour", TEXTS, PLENTY)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nothing_to_judge_is_no_error(model: Path) -> None:
    assert CrossEncoderReranker(str(model)).scores("flour", [], PLENTY).shape == (0,)


class Clocked:
    """A model that takes its time by a clock of its own, and counts its batches."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds, self.batches = clock, seconds, 0

    def predict(self, pairs: list[tuple[str, str]], **_settings: Any) -> np.ndarray:
        self.batches += 1
        self.clock[0] += self.seconds
        return np.arange(len(pairs), dtype=np.float32)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], tuple[CrossEncoderReranker, Clocked]]:
    clock = [100.0]
    monkeypatch.setattr(reranking.time, "monotonic", lambda: clock[0])

    def made(seconds: float) -> tuple[CrossEncoderReranker, Clocked]:
        reranker, encoder = CrossEncoderReranker("no such model", batch_size=1), Clocked(clock, seconds)
        reranker._encoder, reranker._tried = encoder, clock[0]
        reranker._loaded.set()
        return reranker, encoder

    return made


def test_within_the_budget_all_batches_run(clocked) -> None:
    reranker, encoder = clocked(0.04)
    assert reranker.scores("q", TEXTS, 200).tolist() == [0, 0, 0, 0]
    assert encoder.batches == 4


def test_a_batch_that_would_end_too_late_is_not_begun(clocked) -> None:
    reranker, encoder = clocked(0.08)
    with pytest.raises(NotReranked, match="longer than 200 ms"):
        reranker.scores("q", TEXTS, 200)
    assert encoder.batches == 2


def test_who_comes_while_it_is_busy_waits_no_longer_than_the_budget(model: Path) -> None:
    reranker = CrossEncoderReranker(str(model))
    reranker.ready(60)
    go = threading.Event()
    reranker._using.submit(lambda: go.wait(30))
    with pytest.raises(NotReranked, match="busy"):
        reranker.scores("q", TEXTS, 10)
    go.set()


def test_a_batch_that_takes_too_long_is_not_waited_for() -> None:
    go = threading.Event()

    class Hanging:
        def predict(self, pairs: list[tuple[str, str]], **_settings: Any) -> np.ndarray:
            go.wait(30)
            return np.zeros(len(pairs))

    reranker = CrossEncoderReranker("no such model")
    reranker._encoder, reranker._tried = Hanging(), 0.0  # type: ignore[assignment]
    reranker._loaded.set()
    began = time.monotonic()
    with pytest.raises(NotReranked, match="longer than 50 ms"):
        reranker.scores("q", TEXTS, 50)
    assert time.monotonic() - began < 5
    go.set()
    assert reranker.scores("q", TEXTS, PLENTY).tolist() == [0, 0, 0, 0]


def test_a_model_that_is_not_there_is_told_and_not_tried_again_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reranker = CrossEncoderReranker(str(tmp_path / "nothing"))
    for _ in range(2):
        with pytest.raises(NotReranked, match="could not be loaded"):
            reranker.scores("q", TEXTS, PLENTY)
    assert caplog.text.count("could not be loaded") == 1


def test_loading_is_not_waited_for_beyond_the_budget(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    load = CrossEncoderReranker._load

    def slow(self: CrossEncoderReranker) -> None:
        go.wait(30)
        load(self)

    monkeypatch.setattr(CrossEncoderReranker, "_load", slow)
    reranker = CrossEncoderReranker(str(model))
    with pytest.raises(NotReranked, match="still being loaded"):
        reranker.scores("q", TEXTS, 5)
    go.set()
    assert reranker.scores("q", TEXTS, PLENTY).shape == (4,)


def test_a_model_that_breaks_is_logged_and_told(clocked, caplog: pytest.LogCaptureFixture) -> None:
    reranker, encoder = clocked(0.0)
    encoder.predict = lambda *_a, **_k: 1 / 0
    with pytest.raises(NotReranked, match="failed"):
        reranker.scores("q", TEXTS, 200)
    assert "ZeroDivisionError" in caplog.text


def test_a_model_of_several_labels_is_no_reranker(tmp_path: Path) -> None:
    several = tiny_cross_encoder(tmp_path, labels=3)
    with pytest.raises(NotReranked, match="no single score"):
        CrossEncoderReranker(str(several)).scores("q", TEXTS, PLENTY)


def test_numbers_that_are_none_are_refused(clocked) -> None:
    reranker, encoder = clocked(0.0)
    encoder.predict = lambda pairs, **_k: np.full(len(pairs), np.nan)
    with pytest.raises(NotReranked, match="no single score"):
        reranker.scores("q", TEXTS, 200)


def test_a_batch_holds_something() -> None:
    with pytest.raises(ValueError, match="at least one"):
        CrossEncoderReranker("x", batch_size=0)
