"""Versions that nobody goes back to leave nothing behind, and nobody waits for their end."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from kb.core import pools
from kb.core.models import Collection
from kb.documents.models import Chunk
from kb.indexes import dropping, embedding_table
from kb.indexes.lifecycle import move
from kb.indexes.models import EmbeddingJob, IndexVersion
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import beside, state_of
from tests.live import until

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = timedelta(0)


@pytest.fixture
def reader() -> Iterator[psycopg.Connection]:
    """Somebody else's connection."""
    with psycopg.connect(**pools.parameters()) as connected:
        yield connected


def tables() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE 'embedding\\_%'")
        return {name for (name,) in cursor.fetchall()}


def until_dropped(version: IndexVersion) -> None:
    """Others may be at work for a moment, too, such as the thread that counts vectors."""
    until(lambda: dropping.drop_tables(AT_ONCE) == [version.pk], "the table to go", 20)


def test_a_retired_version_is_kept_for_its_time(version: IndexVersion) -> None:
    now = timezone.now()
    kept = beside(version, "retired", drop_after=now + timedelta(hours=1))
    over = beside(version, "retired", drop_after=now - timedelta(seconds=1))
    for_ever = beside(version, "retired")
    assert dropping.end_due() == [over.pk]
    assert [state_of(one) for one in (kept, over, for_ever, version)] == [
        "retired", "dropped", "retired", "live",
    ]  # fmt: skip
    assert dropping.end_due(now + timedelta(hours=2)) == [kept.pk]


def test_what_was_cancelled_goes_with_its_jobs(version: IndexVersion, collection: Collection) -> None:
    made = beside(version)
    chunked(made, collection, ["one", "two"])
    move(made.pk, "cancelled", None, "")
    assert dropping.end_due() == [made.pk]
    until_dropped(made)
    assert not {name for name in tables() if name.startswith(made.table)}
    assert not EmbeddingJob.objects.filter(version=made).exists()
    assert dropping.drop_tables(AT_ONCE) == []


def test_the_table_waits_for_searches_that_chose_it_before(version: IndexVersion) -> None:
    made = beside(version, "cancelled")
    move(made.pk, "dropped", None, "")
    assert dropping.drop_tables() == []
    assert embedding_table.exists(made)


def test_an_open_transaction_from_before_is_waited_for(
    version: IndexVersion, reader: psycopg.Connection
) -> None:
    reader.execute("SELECT 1")
    made = beside(version, "cancelled")
    move(made.pk, "dropped", None, "")
    assert dropping.drop_tables(AT_ONCE) == []
    reader.rollback()
    until_dropped(made)


def test_whoever_reads_it_is_not_disturbed(version: IndexVersion, reader: psycopg.Connection) -> None:
    made = beside(version, "cancelled")
    move(made.pk, "dropped", None, "")
    reader.execute(f"SELECT count(*) FROM {made.table}")
    assert dropping.drop_tables(AT_ONCE) == []
    assert embedding_table.exists(made)
    reader.rollback()
    until_dropped(made)


def test_the_live_version_stays(version: IndexVersion) -> None:
    beside(version, "validating")
    assert dropping.end_due(timezone.now() + timedelta(days=999)) == []
    assert dropping.drop_tables(AT_ONCE) == []


def test_a_chunk_is_deleted_beside_a_dropped_version(version: IndexVersion, collection: Collection) -> None:
    made = beside(version, "cancelled")
    chunked(version, collection, ["one", "two"])
    move(made.pk, "dropped", None, "")
    dropping.drop_tables(AT_ONCE)
    Chunk.objects.all().delete()
    assert not EmbeddingJob.objects.exists()
