"""From a registered `EmbeddingModel` to the embedder that makes its vectors; one instance a process."""

import threading
from functools import cache

from django.conf import settings
from openai import OpenAI

from kb.indexes.models import EmbeddingModel
from retrieval.embedders import DescribedEmbedder, ModelCard
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.embedders.local import LocalEmbedder, default_card
from retrieval.embedders.openai_compatible import OpenAIEmbedder

_making = threading.Lock()


def embedder(model: EmbeddingModel) -> DescribedEmbedder:
    """The process's embedder for this model; weights are loaded when it first embeds."""
    with _making:
        return _made(
            model.provider, model.name, model.revision, model.weights_sha256, model.dimensions, model.base_url
        )


@cache
def _made(  # noqa: PLR0917  # what a cache is keyed by
    provider: str, name: str, revision: str, weights_sha256: str, dimensions: int, base_url: str
) -> DescribedEmbedder:
    match provider:
        case EmbeddingModel.Provider.HASHING:
            return HashingEmbedder(dimensions)
        case EmbeddingModel.Provider.LOCAL:
            threads = settings.EMBED_THREADS or None
            return LocalEmbedder(name, revision=revision, sha256=weights_sha256, threads=threads)
        case EmbeddingModel.Provider.OPENAI:
            client = OpenAI(base_url=base_url, api_key=settings.LLM_API_KEY or "none")
            return OpenAIEmbedder(client, name, dimensions=dimensions)
    raise ValueError(f"There is no provider {provider!r}")


def default_model() -> tuple[str, ModelCard]:
    """Provider and card of the model that a new installation begins with."""
    if settings.EMBEDDER == "hashing":
        return EmbeddingModel.Provider.HASHING, HashingEmbedder().describe()
    return EmbeddingModel.Provider.LOCAL, default_card()
