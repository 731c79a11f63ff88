"""From a registered `EmbeddingModel` to the embedder that makes its vectors; one instance a process."""

import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings

from kb.indexes import calibrating
from kb.indexes.models import EmbeddingModel, IndexVersion
from retrieval.embedders import DescribedEmbedder, ModelCard
from retrieval.embedders.calibration import Choice
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.embedders.local import LocalEmbedder, default_card
from retrieval.embedders.openai_compatible import OpenAIEmbedder
from retrieval.embedders.truncated import Truncated

if TYPE_CHECKING:
    from openai import OpenAI

LOOK_SECONDS = 30.0  # so soon a process takes up a calibration that another one made


@dataclass
class Held:
    """A local model that this process holds, how it was chosen to run, and when that was looked up."""

    embedder: LocalEmbedder
    choice: Choice
    looked: float


_making = threading.Lock()
_held: dict[tuple[object, ...], Held] = {}


def embedder(model: EmbeddingModel) -> DescribedEmbedder:
    """The process's embedder for this model; weights are loaded when it first embeds."""
    if model.provider == EmbeddingModel.Provider.LOCAL:
        return local(model)
    with _making:
        return _made(Described(*(getattr(model, name) for name in Described._fields)))


_cut: dict[tuple[int, int], Truncated] = {}


def embedder_for(version: IndexVersion) -> DescribedEmbedder:
    """The embedder of the version's own space: of fewer dimensions than the model has, where it wants those."""
    made = embedder(version.model)
    if version.dimensions == version.model.dimensions:
        return made
    key = version.model_id, version.dimensions
    with _making:
        # One instance, as what is known of an embedder's failures is kept by instance.
        if key not in _cut or _cut[key].inner is not made:
            _cut[key] = Truncated(made, version.dimensions)
        return _cut[key]


def local(model: EmbeddingModel) -> LocalEmbedder:
    """On the backend that was chosen. It is replaced when another one has been chosen since: who is at
    work with the old one ends in peace."""
    key = (
        model.name, model.revision, model.weights_sha256, model.query_prompt, model.document_prompt,
        settings.EMBED_BACKEND,
    )  # fmt: skip
    with _making:
        held = _held.get(key)
        if held and time.monotonic() - held.looked < LOOK_SECONDS:
            return held.embedder
    choice = calibrating.choice(model)
    with _making:
        held = _held.get(key)
        if held is None or held.choice != choice:
            held = _held[key] = Held(loadable(model, choice), choice, 0.0)
        held.looked = time.monotonic()
        return held.embedder


def identity(model: EmbeddingModel) -> str:
    """All that the numbers of a vector depend on beside the text, as far as known without loading the model."""
    parts = [
        model.provider, model.name, model.revision, model.weights_sha256, model.base_url, model.query_prompt,
    ]  # fmt: skip
    if model.provider == EmbeddingModel.Provider.LOCAL:
        parts.append(str(local(model).backend))
    return " ".join(parts)


def loadable(model: EmbeddingModel, choice: Choice) -> LocalEmbedder:
    return LocalEmbedder(
        model.name,
        revision=model.revision,
        sha256=model.weights_sha256,
        query_prompt=model.query_prompt,
        document_prompt=model.document_prompt,
        backend=choice.backend,
        batch_size=choice.batch_size,
        threads=settings.EMBED_THREADS or None,
        cache=calibrating.graphs(),
    )


class Described(NamedTuple):
    """What an embedder that is not local depends on."""

    provider: str
    name: str
    dimensions: int
    base_url: str
    query_prompt: str
    document_prompt: str
    asks_dimensions: bool


@cache
def _made(model: Described) -> DescribedEmbedder:
    match model.provider:
        case EmbeddingModel.Provider.HASHING:
            return HashingEmbedder(model.dimensions)
        case EmbeddingModel.Provider.OPENAI:
            return OpenAIEmbedder(
                client(model.base_url),
                model.name,
                dimensions=model.dimensions if model.asks_dimensions else None,
                expected=model.dimensions,
                query_prompt=model.query_prompt,
                document_prompt=model.document_prompt,
            )
    raise ValueError(f"There is no provider {model.provider!r}")


def client(base_url: str) -> "OpenAI":
    """Of an embeddings endpoint, with its own key: that of the language model is for its own address alone.

    It does not retry: the embedder does, as the endpoint says.
    """
    from openai import OpenAI  # noqa: PLC0415  half a second, which most processes never need

    return OpenAI(
        base_url=base_url,
        api_key=settings.EMBEDDINGS_API_KEY or "none",
        max_retries=0,
        timeout=settings.EMBEDDINGS_TIMEOUT_SECONDS,
    )


def default_model() -> tuple[str, ModelCard]:
    """Provider and card of the model that a new installation begins with."""
    if settings.EMBEDDER == "hashing":
        return EmbeddingModel.Provider.HASHING, HashingEmbedder().describe()
    return EmbeddingModel.Provider.LOCAL, default_card()
