"""Stored vectors become another version's without the model, wherever that gives what the model would."""

import numpy as np
import pytest
from django.db import connection
from numpy.typing import NDArray

from kb.core.models import Collection
from kb.documents.models import Chunk
from kb.indexes import building, deriving, embedding_queue, providers
from kb.indexes.building import Step
from kb.indexes.deriving import computable, source_for
from kb.indexes.models import EmbeddingJob, Index, IndexVersion
from kb.indexes.version_actions import Wanted, build
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked, table
from tests.kb.indexes.versions import another_space, beside, built, cuttable

TEXTS = [f"{fruit} and {other}, with {third}" for fruit in ("apple", "pear", "plum")
         for other in ("cheese", "bread") for third in ("honey", "nuts")]  # fmt: skip


def vectors(version: IndexVersion) -> dict[int, NDArray[np.float32]]:
    return {
        chunk: np.array(text.strip("[]").split(","), np.float32)
        for chunk, (_, text) in table(version).items()
    }


@pytest.mark.parametrize(
    ("source", "wanted", "possible"),
    [
        ({}, {"dimensions": 256}, True),
        ({}, {"hnsw_m": 8}, True),
        ({"storage": "vector"}, {"storage": "halfvec"}, True),
        ({"storage": "vector"}, {"storage": "bit"}, True),
        ({"storage": "halfvec"}, {"storage": "bit"}, True),
        ({"storage": "halfvec"}, {"storage": "vector"}, False),
        ({"dimensions": 256}, {"dimensions": 384}, False),
        ({}, {"model_id": 2}, False),
        ({}, {"chunking_id": 2}, False),
    ],
)
def test_only_what_follows_is_computed(
    source: dict[str, object], wanted: dict[str, object], possible: bool
) -> None:
    same = {"model_id": 1, "chunking_id": 1, "dimensions": 384, "storage": "halfvec"}
    assert computable(IndexVersion(pk=1, **same | source), IndexVersion(pk=2, **same | wanted)) == possible


def test_nothing_is_computed_of_itself() -> None:
    one = IndexVersion(pk=1, model_id=1, chunking_id=1, dimensions=384)
    assert not computable(one, one)


@pytest.mark.django_db
def test_the_most_precise_source_is_taken_and_the_live_one_first(version: IndexVersion, index: Index) -> None:
    wanted = IndexVersion(
        index=index, model=version.model, chunking=version.chunking, dimensions=128, storage="halfvec"
    )
    beside(version, "retired")
    assert source_for(index, wanted) == version
    precise = beside(version, "retired", storage="vector")
    beside(version, "building", storage="vector")
    assert source_for(index, wanted) == precise
    wanted.model = another_space()
    assert source_for(index, wanted) is None


@pytest.mark.django_db
def test_the_embedder_of_a_space_is_kept(version: IndexVersion) -> None:
    assert providers.embedder_for(version) is providers.embedder(version.model)
    version.dimensions = 256
    made = providers.embedder_for(version)
    assert made.describe().dimensions == 256
    assert providers.embedder_for(version) is made
    version.dimensions = 128
    assert providers.embedder_for(version).describe().dimensions == 128


@pytest.mark.django_db(transaction=True)
class TestDerive:
    @pytest.fixture(autouse=True)
    def stocked(self, version: IndexVersion, collection: Collection) -> None:
        cuttable(version.model, 256)
        chunked(version, collection, TEXTS)
        embed_all(version, Counting(version))

    def derived(self, index: Index, **wanted: object) -> IndexVersion:
        return build(None, index, Wanted(**wanted))

    def test_the_first_dimensions_are_what_the_model_gives(self, index: Index, version: IndexVersion) -> None:
        made = self.derived(index, dimensions=256)
        assert made.derived_from == version
        assert building.advance(made.pk) is Step.OVER, "no vector is left to the model"
        made.refresh_from_db()
        assert made.state == "validating"
        assert not EmbeddingJob.objects.filter(version=made).exists()
        found = vectors(made)
        assert set(found) == set(Chunk.objects.values_list("pk", flat=True))
        read = self.inputs(made)
        wanted = providers.embedder_for(made).embed([read[pk].rendered for pk in found], "document")
        np.testing.assert_allclose(np.stack(list(found.values())), wanted, atol=5e-4)
        np.testing.assert_allclose([np.linalg.norm(vector) for vector in found.values()], 1, atol=1e-3)

    def inputs(self, version: IndexVersion) -> dict[int, embedding_queue.Input]:
        """What the model would read."""
        probe = beside(version)
        embedding_queue.enqueue_missing(probe)
        return {given.chunk_id: given for given in embedding_queue.lease(probe)}

    def test_the_same_numbers_in_fewer_bits(self, index: Index, version: IndexVersion) -> None:
        precise = built(self.derived(index, storage="vector"))
        assert precise.derived_from is None, "half-precision numbers do not say what was rounded away"
        made = built(self.derived(index, storage="halfvec", hnsw_m=8))
        assert made.derived_from == precise
        assert table(made) == table(version)

    def test_bits_are_of_the_stored_numbers(self, index: Index, version: IndexVersion) -> None:
        made = built(self.derived(index, storage="bit"))
        assert (made.state, made.derived_from) == ("validating", version)
        assert table(made) == table(version)

    def test_what_the_source_lacks_is_left_to_the_queue(
        self, index: Index, version: IndexVersion, collection: Collection
    ) -> None:
        waiting = chunked(version, collection, ["quince with cheese and honey"])
        made = self.derived(index, dimensions=256)
        assert building.advance(made.pk) is Step.EMBED
        jobs = EmbeddingJob.objects.filter(version=made).values_list("chunk", flat=True)
        assert list(jobs) == list(waiting.chunks.values_list("pk", flat=True))
        assert built(made).state == "validating"

    def test_a_stale_vector_is_not_passed_on(self, index: Index, version: IndexVersion) -> None:
        stale = min(table(version))
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {version.table} SET content_hash = sha256('old') WHERE chunk_id = %s", [stale]
            )
        made = self.derived(index, dimensions=256)
        building.advance(made.pk)
        assert stale not in table(made)
        assert EmbeddingJob.objects.get(version=made).chunk_id == stale

    def test_jobs_written_meanwhile_are_spared(self, index: Index, version: IndexVersion) -> None:
        made = self.derived(index, dimensions=256)
        embedding_queue.enqueue_missing(made)
        assert EmbeddingJob.objects.filter(version=made).count() == len(TEXTS)
        assert building.advance(made.pk) is Step.OVER
        assert not EmbeddingJob.objects.filter(version=made).exists()

    def test_twice_changes_nothing(self, index: Index, version: IndexVersion) -> None:
        made = self.derived(index, dimensions=256)
        first = deriving.derive_portion(made, version, 0, most=3)
        assert first is not None
        assert len(table(made)) == 3
        before = table(made)
        deriving.derive(made, version, list(before))
        assert table(made) == before
        assert deriving.derive_portion(made, version, 0, most=3) != first, "what is done is passed over"
        assert len(table(made)) == 6
        assert deriving.derive_portion(made, version, 10**9) is None

    def test_a_deleted_chunk_leaves_nothing_behind(self, index: Index, version: IndexVersion) -> None:
        made = self.derived(index, dimensions=256)
        gone = min(table(version))
        Chunk.objects.filter(pk=gone).delete()
        deriving.derive(made, version, [gone])
        assert gone not in table(made)

    def test_a_source_that_was_dropped_is_done_without(self, index: Index, version: IndexVersion) -> None:
        source = built(self.derived(index, hnsw_m=8))
        made = self.derived(index, dimensions=256)
        IndexVersion.objects.filter(pk=made.pk).update(derived_from=source)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {source.table}")
        assert building.advance(made.pk) is Step.EMBED
        assert built(made).state == "validating"
