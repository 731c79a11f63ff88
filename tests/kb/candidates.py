"""A second version of an index, in a space of its own, filled and in any state."""

from typing import Any

from django.utils import timezone

from kb.indexes import embedding_queue, embedding_table
from kb.indexes.models import EmbeddingModel, Index, IndexVersion, ValidationReport
from tests.conftest import work_off

State = IndexVersion.State


def candidate(index: Index, state: str = State.VALIDATING, **more: Any) -> IndexVersion:
    """Built of hashed words in fewer dimensions than the live version has, over all that the index holds."""
    live = index.live_version
    assert live is not None
    dimensions = more.pop("dimensions", 64)
    model, _ = EmbeddingModel.objects.get_or_create(
        provider=EmbeddingModel.Provider.HASHING,
        name=f"hashing-{dimensions}",
        dimensions=dimensions,
        max_tokens=256,
    )
    given = {"model": model, "chunking": live.chunking, "dimensions": dimensions, "number": live.number + 1}
    version = IndexVersion.objects.create(
        index=index, state=State.BUILDING, built_at=timezone.now(), **given | more
    )
    embedding_table.create(version)
    embedding_queue.enqueue_missing(version)
    work_off()
    IndexVersion.objects.filter(pk=version.pk).update(state=state)
    if state in {State.SHADOW, State.CANARY}:  # nobody comes there without a report
        ValidationReport.objects.create(version=version, against=live, verdict="pass")
    version.refresh_from_db()
    return version
