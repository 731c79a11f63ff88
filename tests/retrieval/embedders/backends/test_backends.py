"""Every backend gives the vectors that sentence-transformers gives, as exactly as its number format can."""

import os
import subprocess
import sys
from functools import cache as cached
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from retrieval.embedders import Vectors
from retrieval.embedders.backends import (
    BACKENDS,
    ON_CUDA,
    ON_MPS,
    ON_PROCESSOR,
    OPENVINO,
    OPENVINO_BFLOAT16,
    TORCH,
    TORCH_BFLOAT16,
    Backend,
    BackendUnavailable,
    named,
)
from retrieval.embedders.local import LocalEmbedder
from tests.contracts import EmbedderContract
from tests.retrieval.embedders.tiny import static_model, tiny_model

TEXTS = ["the cats sleep", "", "Bread is baked from flour " * 30, "a database of vectors", "?"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@cached
def default_on(backend: Backend, cache: Path) -> LocalEmbedder:
    """The default model; skips where this processor lacks what the backend needs."""
    embedder = LocalEmbedder(backend=backend, cache=cache, strict=True)
    try:
        embedder.describe()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    return embedder


def published(directory: Path, texts: list[str]) -> Vectors:
    """What sentence-transformers itself gives."""
    model = SentenceTransformer(str(directory), device="cpu")
    return np.asarray(model.encode_document(texts, normalize_embeddings=True), np.float32)


class TestOpenVino(EmbedderContract):
    @pytest.fixture
    def embedder(self, cache: Path) -> LocalEmbedder:
        return default_on(OPENVINO, cache)


class TestOpenVinoBfloat16(EmbedderContract):
    tolerance = 5e-3

    @pytest.fixture
    def embedder(self, cache: Path) -> LocalEmbedder:
        return default_on(OPENVINO_BFLOAT16, cache)


class TestTorchBfloat16(EmbedderContract):
    tolerance = 5e-3

    @pytest.fixture
    def embedder(self, cache: Path) -> LocalEmbedder:
        return default_on(TORCH_BFLOAT16, cache)


@pytest.mark.parametrize("backend", [TORCH, OPENVINO], ids=str)
def test_the_vectors_are_those_of_sentence_transformers(tiny: Path, backend: Backend) -> None:
    made = LocalEmbedder(tiny, backend=backend, strict=True).embed(TEXTS, "document")
    np.testing.assert_allclose(made, published(tiny, TEXTS), atol=1e-5)


def test_batches_beside_each_other_are_those_one_after_the_other(cache: Path) -> None:
    texts = [f"A text of its own, number {number}. " * (number % 7 + 1) for number in range(40)]
    together = LocalEmbedder(backend=OPENVINO, cache=cache, threads=2).embed(texts, "document", batch_size=4)
    alone = LocalEmbedder(backend=OPENVINO, cache=cache, threads=1).embed(texts, "document", batch_size=4)
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("backend", [OPENVINO_BFLOAT16, TORCH_BFLOAT16], ids=str)
def test_smaller_numbers_are_near_the_exact_ones(cache: Path, backend: Backend) -> None:
    texts = ["Vitamin D and the bones of the elderly.", "Interest rates rose again. " * 12]
    exact = LocalEmbedder(backend=OPENVINO, cache=cache).embed(texts, "document")
    made = default_on(backend, cache).embed(texts, "document")
    assert (made * exact).sum(axis=1).min() > 0.999
    assert not np.array_equal(made, exact)


@pytest.mark.parametrize("backend", ON_PROCESSOR, ids=str)
def test_the_card_names_the_backend_and_its_numbers(cache: Path, backend: Backend) -> None:
    card = default_on(backend, cache).describe()
    assert (card.backend, card.number_format) == (backend.name, backend.number_format)


@pytest.mark.parametrize("options", [{"padding_side": "left"}, {"include_prompt": False}], ids=str)
def test_a_model_that_reads_more_than_tokens_is_left_to_sentence_transformers(
    tmp_path: Path, options: dict[str, object]
) -> None:
    directory = tiny_model(tmp_path, **options)  # type: ignore[arg-type]
    made = LocalEmbedder(directory).embed(TEXTS, "document")
    np.testing.assert_allclose(made, published(directory, TEXTS), atol=1e-5)
    with pytest.raises(BackendUnavailable, match="more than tokens"):
        LocalEmbedder(directory, backend=OPENVINO, strict=True).describe()


def test_a_model_without_a_transformer_works_too(tmp_path: Path) -> None:
    directory, texts = static_model(tmp_path), ["the cats sleep", "bread"]
    embedder = LocalEmbedder(directory)
    np.testing.assert_allclose(embedder.embed(texts, "document"), published(directory, texts), atol=1e-5)
    assert embedder.describe().max_tokens is None


def test_a_backend_that_is_not_here_gives_way_and_the_card_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tiny_model(tmp_path, padding_side="left")
    card = LocalEmbedder(directory, backend=OPENVINO_BFLOAT16).describe()
    assert (card.backend, card.number_format) == ("torch", "float32")
    assert "openvino-bfloat16 cannot run" in caplog.text


@pytest.mark.parametrize("backend", [ON_CUDA[0], ON_MPS[0]], ids=str)
def test_a_device_that_is_not_there_is_said(
    tiny: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(BackendUnavailable, match=r"no (CUDA|Metal) device"):
        LocalEmbedder(tiny, backend=backend, strict=True).describe()


def test_bfloat16_is_refused_where_the_processor_emulates_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_f": True})
    with pytest.raises(BackendUnavailable, match="AVX512-BF16"):
        LocalEmbedder(tiny, backend=TORCH_BFLOAT16, strict=True).describe()


def test_without_the_package_the_reason_is_said(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendUnavailable, match="openvino cannot be imported"):
        LocalEmbedder(tiny, backend=OPENVINO, strict=True).describe()


def test_backends_are_known_by_name() -> None:
    assert [named(str(backend)) for backend in BACKENDS] == list(BACKENDS)
    with pytest.raises(ValueError, match="no backend 'torch-int4'"):
        named("torch-int4")


def test_never_half_precision_on_a_processor() -> None:
    assert all(backend.number_format != "float16" for backend in BACKENDS if backend.device == "cpu")


SILENT = """
import os, sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("the network was used:", event, arguments, flush=True)
        os._exit(3)
sys.addaudithook(forbid)
from pathlib import Path
from retrieval.embedders.backends import OPENVINO
from retrieval.embedders.local import LocalEmbedder
embedder = LocalEmbedder(Path(sys.argv[1]), backend=OPENVINO, cache=Path(sys.argv[2]), strict=True)
embedder.embed(["cats sleep"], "document")
sent = [name for name in sys.modules if name.startswith("openvino_telemetry.")]
print(",".join(sent), "torch" in sys.modules)
"""


@pytest.mark.slow
def test_usage_is_reported_to_nobody_and_a_kept_graph_needs_no_torch(tiny: Path, tmp_path: Path) -> None:
    home = {**os.environ, "HOME": str(tmp_path / "home")}  # where its consent would be looked for
    command = [sys.executable, "-c", SILENT, str(tiny), str(tmp_path / "graphs")]
    said = [
        subprocess.run(command, check=False, env=home, capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]
    assert not (tmp_path / "home").exists()
