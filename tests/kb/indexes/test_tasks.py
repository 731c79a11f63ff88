"""One message stands for all that waits in a version; a sweep sends it again when it was lost."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from pytest_django import DjangoCaptureOnCommitCallbacks
from redis.exceptions import ConnectionError as RedisConnectionError

from kb.core.models import Collection
from kb.indexes import tasks
from kb.indexes.models import IndexVersion
from tests.kb.indexes.rows import chunked

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The versions for which a message was sent."""
    messages: list[int] = []

    def keep(task: object, version_id: int, expires: float | None = None) -> None:
        messages.append(version_id)

    monkeypatch.setattr(tasks, "wake", keep)
    cache.clear()
    yield messages
    cache.clear()


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
