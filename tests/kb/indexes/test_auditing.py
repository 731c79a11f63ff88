"""The audit finds what breaks an invariant, in whatever version, and repairs what can be."""

import numpy as np
import pytest
from django.db import connection

from kb.core.models import Collection
from kb.documents.models import Document
from kb.indexes import embedding_table, graph
from kb.indexes.auditing import Finding, audit
from kb.indexes.embedding_table import Origin
from kb.indexes.models import EmbeddingJob, Index, IndexedCollection, IndexVersion
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked, table
from tests.kb.indexes.versions import beside

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def stocked(version: IndexVersion, collection: Collection) -> None:
    chunked(version, collection, ["apple", "pear", "plum"])
    embed_all(version, Counting(version))


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def kinds(findings: list[Finding]) -> list[tuple[int, str, int, bool]]:
    return [(one.invariant, one.kind, one.count, one.repaired) for one in findings]


def test_a_sound_database_is_clean(version: IndexVersion, collection: Collection) -> None:
    chunked(version, collection, ["waits for its vector"])
    assert audit() == []


def test_a_chunk_without_vector_or_job_is_enqueued(version: IndexVersion) -> None:
    execute(f"DELETE FROM {version.table} WHERE chunk_id = (SELECT min(chunk_id) FROM {version.table})")
    assert kinds(audit()) == [(2, "missing", 1, False)]
    assert not EmbeddingJob.objects.exists()
    assert kinds(audit(repair=True)) == [(2, "missing", 1, True)]
    assert EmbeddingJob.objects.count() == 1
    assert audit() == []


def test_a_vector_of_other_words_counts_as_missing(version: IndexVersion) -> None:
    execute(f"UPDATE {version.table} SET content_hash = sha256('older words')")
    assert kinds(audit(repair=True)) == [(2, "missing", 3, True)]


def test_vectors_of_no_chunk_are_removed(version: IndexVersion) -> None:
    vectors = np.eye(1, version.dimensions, dtype=np.float32)
    embedding_table.write(version, [(2**30, 1, bytes(32))], vectors, Origin("", "", "float32"))
    assert kinds(audit(repair=True)) == [(2, "strays", 1, True)]
    assert len(table(version)) == 3


def test_vectors_of_another_indexs_collection_are_removed(
    version: IndexVersion, collection: Collection
) -> None:
    IndexedCollection.objects.create(
        collection=collection, index=Index.objects.create(name="Other", slug="other")
    )
    assert kinds(audit(repair=True)) == [(2, "strays", 3, True), (2, "leftovers", 3, True)]
    assert table(version) == {}


def test_vectors_in_the_wrong_collection_are_put_right(version: IndexVersion, other: Collection) -> None:
    execute(f"UPDATE {version.table} SET collection_id = {other.pk}")
    assert kinds(audit(repair=True)) == [(4, "misplaced", 3, True)]
    assert audit() == []


def test_vectors_without_direction_are_made_anew(version: IndexVersion) -> None:
    zero = [0] * version.dimensions
    execute(f"UPDATE {version.table} SET vector = '{zero}' WHERE chunk_id = {min(table(version))}")
    assert kinds(audit(repair=True)) == [(6, "odd", 1, True)]
    assert EmbeddingJob.objects.count() == 1


def test_an_index_that_is_missing_is_built(version: IndexVersion) -> None:
    execute(f"DROP INDEX {graph.name(version)}")
    assert kinds(audit(repair=True)) == [(6, "graph", 1, True)]
    assert graph.valid(version)


def test_a_table_of_another_space_is_reported(version: IndexVersion) -> None:
    execute(f"DROP TABLE {version.table}")
    assert kinds(audit(repair=True)) == [(6, "table", 1, False)]
    IndexVersion.objects.filter(pk=version.pk).update(dimensions=64)
    embedding_table.create(IndexVersion.objects.get(pk=version.pk))
    IndexVersion.objects.filter(pk=version.pk).update(dimensions=384)
    (found,) = audit(repair=True)
    assert found.message == "Its table is halfvec(64) instead of halfvec(384)."


def test_a_table_without_a_version_is_dropped() -> None:
    execute("CREATE TABLE embedding_987654 (chunk_id integer)")
    assert kinds(audit()) == [(6, "orphans", 1, False)]
    assert kinds(audit(repair=True)) == [(6, "orphans", 1, True)]
    assert audit() == []


def test_a_pointer_to_what_is_not_live_is_reported(version: IndexVersion) -> None:
    IndexVersion.objects.filter(pk=version.pk).update(state="retired")
    assert kinds(audit(repair=True)) == [(6, "pointer", 1, False)]
    IndexVersion.objects.filter(pk=version.pk).update(state="live")
    Index.objects.update(live_version=None)
    assert kinds(audit(repair=True)) == [(6, "live", 1, False)]


def test_a_build_that_is_not_complete_is_not_wrong(version: IndexVersion) -> None:
    beside(version, "building")
    beside(version, "failed", built_at=None)
    assert audit() == []


def test_what_was_dropped_is_not_looked_at(version: IndexVersion) -> None:
    execute(f"DROP TABLE {beside(version, 'dropped').table}")
    assert audit() == []


def test_a_deleted_document_leaves_a_sound_database(version: IndexVersion) -> None:
    beside(version, "retired")
    Document.objects.all().delete()
    assert audit() == []
