"""Versions beside the live one, in whatever state a test begins with."""

from django.utils import timezone

from kb.indexes import building, embedding, embedding_table, rechunking
from kb.indexes.building import Step
from kb.indexes.models import EmbeddingModel, Index, IndexVersion, ValidationReport


def beside(live: IndexVersion, state: str = "building", **changes: object) -> IndexVersion:
    """Another version of the index, with a table: like the live one but for `changes`."""
    given = {
        "model": live.model, "chunking": live.chunking, "dimensions": live.dimensions, "storage": live.storage,
        "built_at": None if state in {"building", "paused"} else timezone.now(),
    } | changes  # fmt: skip
    number = IndexVersion.objects.filter(index=live.index_id).count() + 1
    made = IndexVersion.objects.create(index=live.index, number=number, state=state, **given)
    embedding_table.create(made)
    if state in {"shadow", "canary"}:
        report(made)
    return made


def report(version: IndexVersion, verdict: str = "pass", **changes: object) -> ValidationReport:
    """One beside what serves now, unless `changes` say otherwise."""
    serving = Index.objects.get(pk=version.index_id).live_version
    return ValidationReport.objects.create(
        version=version, verdict=verdict, **{"against": serving, **changes}
    )


def state_of(version: IndexVersion) -> str:
    return IndexVersion.objects.get(pk=version.pk).state


def another_space(dimensions: int = 64) -> EmbeddingModel:
    """A model whose vectors have nothing to do with the default's."""
    return EmbeddingModel.objects.create(
        provider="hashing", name="hashing", revision=f"of {dimensions}", dimensions=dimensions, max_tokens=0
    )


def cuttable(model: EmbeddingModel, *dimensions: int) -> EmbeddingModel:
    """The model, trained so that these numbers of its first dimensions stand alone."""
    model.training = {"matryoshka": list(dimensions)}
    model.save()
    return model


def built(version: IndexVersion) -> IndexVersion:
    """Does what the workers would do, until the version is not building any more."""
    for _ in range(20):
        match building.advance(version.pk):
            case Step.OVER:
                break
            case Step.CUT:
                rechunking.cut_for(version, 60)
            case Step.EMBED:
                embedding.embed_for(version, 60)
    version.refresh_from_db()
    return version
