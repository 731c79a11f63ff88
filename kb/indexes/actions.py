"""Makes the index that a new installation begins with."""

from dataclasses import asdict

from django.db import transaction
from django.utils import timezone

from kb.core.auditing import record
from kb.documents.models import Chunking
from kb.indexes import embedding_table, providers
from kb.indexes.models import EmbeddingModel, Index, IndexTransition, IndexVersion
from retrieval.analysis import analyser_hash
from retrieval.chunking import VERSION, ChunkSettings
from retrieval.embedders import ModelCard
from retrieval.embedders.local import tokenizer_hash


@transaction.atomic
def ensure_default_index() -> Index:
    """The default index with a live version; made if there is none. Running it again changes nothing."""
    index, _ = Index.objects.select_for_update().get_or_create(
        is_default=True, defaults={"name": "Default", "slug": "default"}
    )
    if index.live_version_id is None:
        index.live_version = first_version(index)
        index.save(update_fields=["live_version"])
        record(None, "create", index.live_version)
    return index


def first_version(index: Index) -> IndexVersion:
    """A version that serves from the start: there is nothing yet that it could lack."""
    model = register(*providers.default_model())
    version = IndexVersion.objects.create(
        index=index,
        number=1,
        model=model,
        chunking=current_chunking(),
        dimensions=model.dimensions,
        state=IndexVersion.State.LIVE,
        built_at=timezone.now(),
    )
    IndexTransition.objects.create(
        version=version, after=version.state, reason="The first version of a new index"
    )
    embedding_table.create(version)
    return version


def register(provider: str, card: ModelCard) -> EmbeddingModel:
    """The registry's row for the model with this card."""
    model, _ = EmbeddingModel.objects.get_or_create(
        provider=provider,
        name=card.name,
        revision=card.revision,
        weights_sha256=card.weights_sha256,
        base_url="",
        defaults={
            "dimensions": card.dimensions,
            "max_tokens": card.max_tokens or 0,
            "query_prompt": card.query_prompt,
            "document_prompt": card.document_prompt,
            "pooling": card.pooling,
            "licence": card.licence,
        },
    )
    return model


def current_chunking() -> Chunking:
    """The chunking that this release makes by default."""
    return chunking_with(ChunkSettings())


def chunking_with(settings: ChunkSettings) -> Chunking:
    """The one with these settings, and this release's tokenizer and analyser."""
    chunking, _ = Chunking.objects.get_or_create(
        settings={"chunker": VERSION, **asdict(settings)},
        tokenizer_hash=tokenizer_hash(),
        analyser_hash=analyser_hash(),
    )
    return chunking
