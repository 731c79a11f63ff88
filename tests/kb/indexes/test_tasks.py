"""One message stands for all that waits in a version; a sweep sends it again when it was lost."""

from datetime import timedelta

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from redis.exceptions import ConnectionError as RedisConnectionError

from kb.core.models import Collection
from kb.documents.models import Chunking
from kb.indexes import tasks
from kb.indexes.models import CuttingJob, EmbeddingJob, IndexVersion
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import another_space, beside, state_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions for which a message was sent."""
    messages: list[int] = []

    def keep(task: object, version_id: int, expires: float | None = None) -> None:
        messages.append(version_id)

    monkeypatch.setattr(tasks, "wake", keep)
    return messages


def test_many_documents_send_one_message(
    version: IndexVersion, sent: list[int], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(20):
            tasks.wake_embedding_on_commit(version.pk)
        assert sent == []
    assert sent == [version.pk]
    tasks.forget_wake(version.pk)
    tasks.wake_embedding(version.pk)
    assert sent == [version.pk, version.pk]


def test_a_sweep_wakes_for_what_waits_and_only_then(
    collection: Collection, version: IndexVersion, sent: list[int]
) -> None:
    tasks.sweep_embeddings_task()
    assert sent == []
    chunked(version, collection, ["one"])
    tasks.sweep_embeddings_task()
    tasks.sweep_embeddings_task()
    assert sent == [version.pk]


def test_without_a_cache_each_message_is_sent(
    version: IndexVersion, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> bool:
        raise RedisConnectionError("away")

    monkeypatch.setattr(LocMemCache, "add", away)
    monkeypatch.setattr(LocMemCache, "delete", away)
    tasks.wake_embedding(version.pk)
    tasks.forget_wake(version.pk)
    tasks.wake_embedding(version.pk)
    assert sent == [version.pk, version.pk]


def test_a_task_works_the_queue_off_and_sends_no_successor(
    collection: Collection, version: IndexVersion, sent: list[int]
) -> None:
    document = chunked(version, collection, ["one", "two"])
    tasks.embed_chunks_task(version.pk)
    tasks.embed_chunks_task(version.pk)
    tasks.embed_chunks_task(version.pk + 1)
    document.refresh_from_db()
    assert (document.state, sent) == ("ready", [])


class TestBuilds:
    @pytest.fixture
    def made(self, version: IndexVersion) -> IndexVersion:
        return beside(version, "building", model=another_space(), dimensions=64)

    def test_a_sweep_takes_a_build_to_its_next_step(self, made: IndexVersion, sent: list[int]) -> None:
        tasks.sweep_embeddings_task()
        assert sent == [made.pk]

    def test_a_build_whose_queue_has_work_is_left_to_the_workers(
        self, collection: Collection, made: IndexVersion, sent: list[int]
    ) -> None:
        chunked(made, collection, ["one"])
        tasks.sweep_embeddings_task()
        tasks.sweep_embeddings_task()
        assert sent == [made.pk], "the message of the queue, not of the build"

    def test_live_work_comes_first_and_what_gave_way_follows(
        self, collection: Collection, version: IndexVersion, made: IndexVersion, sent: list[int]
    ) -> None:
        chunked(made, collection, ["one"])
        chunked(version, collection, ["two"])
        tasks.embed_chunks_task(made.pk)
        assert (EmbeddingJob.objects.filter(version=made).count(), sent) == (1, []), "it does not insist"
        tasks.embed_chunks_task(version.pk)
        assert sent == [made.pk]
        sent.clear()
        tasks.embed_chunks_task(made.pk)
        assert not EmbeddingJob.objects.exists()
        assert sent == [made.pk], "the next step of the build"

    def test_what_another_worker_holds_or_failed_of_late_is_not_insisted_upon(
        self, collection: Collection, made: IndexVersion, sent: list[int]
    ) -> None:
        chunked(made, collection, ["one"])
        EmbeddingJob.objects.update(lease_until=timezone.now() + timedelta(seconds=60), attempts=1)
        tasks.embed_chunks_task(made.pk)
        tasks.build_version_task(made.pk)
        tasks.sweep_embeddings_task()
        assert sent == []

    def test_a_document_that_another_worker_cuts_is_not_insisted_upon(
        self, collection: Collection, made: IndexVersion, version: IndexVersion, sent: list[int]
    ) -> None:
        document = chunked(version, collection, ["one"])
        tasks.embed_chunks_task(version.pk)
        other = Chunking.objects.create(settings={"max_tokens": 60}, tokenizer_hash="t", analyser_hash="a")
        IndexVersion.objects.filter(pk=made.pk).update(chunking=other)
        until = timezone.now() + timedelta(seconds=60)
        CuttingJob.objects.create(chunking=other, document=document, lease_until=until, attempts=1)
        tasks.build_version_task(made.pk)
        tasks.cut_documents_task(made.pk)
        assert sent == []
        CuttingJob.objects.update(lease_until=None)
        tasks.build_version_task(made.pk)
        assert sent == [made.pk]

    def test_the_repair_leaves_a_build_to_itself(
        self, collection: Collection, version: IndexVersion, made: IndexVersion
    ) -> None:
        chunked(version, collection, ["one"])
        EmbeddingJob.objects.all().delete()
        tasks.repair_queue_task()
        assert set(EmbeddingJob.objects.values_list("version", flat=True)) == {version.pk}

    def test_a_table_that_goes_while_it_is_filled_is_no_error(
        self, collection: Collection, made: IndexVersion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chunked(made, collection, ["one"])
        embed_for = tasks.embedding.embed_for

        def dropped(version: IndexVersion, *arguments: object) -> bool:
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {version.table}")
            return embed_for(version, *arguments)

        monkeypatch.setattr(tasks.embedding, "embed_for", dropped)
        with transaction.atomic():
            tasks.embed_chunks_task(made.pk)


@pytest.mark.django_db(transaction=True)
def test_a_build_goes_from_task_to_task(
    collection: Collection, version: IndexVersion, sent: list[int]
) -> None:
    chunked(version, collection, ["one", "two"])
    tasks.embed_chunks_task(version.pk)
    made = beside(version, "building", model=another_space(), dimensions=64)
    tasks.build_version_task(made.pk)
    assert sent == [made.pk]
    tasks.embed_chunks_task(made.pk)
    tasks.build_version_task(made.pk)
    tasks.build_version_task(made.pk)
    assert state_of(made) == "validating"


@pytest.mark.django_db(transaction=True)
def test_what_was_cancelled_is_ended(version: IndexVersion) -> None:
    made = beside(version, "cancelled")
    tasks.end_versions_task()
    assert state_of(made) == "dropped"
