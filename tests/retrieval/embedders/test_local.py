"""The default model, really loaded."""

import threading
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedders import Kind, Vectors
from retrieval.embedders.local import LocalEmbedder, default_card
from retrieval.embedders.model_files import ModelMissing, default_directory
from tests.contracts import EmbedderContract


@pytest.fixture(scope="module")
def model() -> LocalEmbedder:
    return LocalEmbedder(threads=2)


class TestLocalEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self, model: LocalEmbedder) -> LocalEmbedder:
        return model


def test_the_card_is_what_is_known_without_loading(model: LocalEmbedder) -> None:
    assert model.describe() == default_card()


def test_meaning_and_not_words_decides(model: LocalEmbedder) -> None:
    texts = ["The physician treats the sick.", "The bank raises its interest rate."]
    scores = model.embed(["Who heals patients?"], "query") @ model.embed(texts, "document").T
    assert scores[0, 0] > scores[0, 1] + 0.2


def test_threads_may_share_it(model: LocalEmbedder) -> None:
    texts = [f"Text number {number}" for number in range(4)]
    expected = model.embed(texts, "document")
    found: dict[int, Vectors] = {}

    def work(number: int) -> None:
        found[number] = model.embed([texts[number]], "document")[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(np.stack([found[number] for number in range(4)]), expected, atol=1e-5)


def test_prompts_are_put_before_the_text_by_kind(model: LocalEmbedder) -> None:
    prompted = LocalEmbedder(default_directory(), query_prompt="query: ", document_prompt="passage: ")
    prompts: dict[Kind, str] = {"query": "query: ", "document": "passage: "}
    for kind, prompt in prompts.items():
        expected = model.embed([f"{prompt}vectors"], "document")
        np.testing.assert_allclose(prompted.embed(["vectors"], kind), expected, atol=1e-5)
    assert prompted.describe().query_prompt == "query: "


def test_other_weights_than_expected_are_refused() -> None:
    with pytest.raises(ModelMissing, match="not 0000"):
        LocalEmbedder(default_directory(), sha256="0000").describe()


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="safetensors"):
        LocalEmbedder(tmp_path).describe()


def test_an_unknown_model_is_not_looked_for_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    # huggingface_hub has read the environment by now.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelMissing, match="no-one/no-model"):
        LocalEmbedder("no-one/no-model").describe()
