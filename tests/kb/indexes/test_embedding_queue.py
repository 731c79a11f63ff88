"""Collections take turns, paused work waits, a lease is had by one worker only."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection
from django.utils import timezone

from kb.core.models import Collection, User
from kb.documents.models import Document
from kb.indexes import embedding_queue
from kb.indexes.embedding_queue import Input, lease
from kb.indexes.models import EmbeddingJob, IndexVersion
from tests.kb.indexes.rows import chunked, waiting

pytestmark = pytest.mark.django_db


@pytest.fixture
def collections(alice: User) -> list[Collection]:
    return [Collection.objects.create(name=f"C{n}", slug=f"c{n}", owner=alice) for n in range(4)]


def words(count: int, word: str = "w") -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def shares(inputs: list[Input]) -> Counter[int]:
    return Counter(given.collection_id for given in inputs)


def test_the_condition_in_sql_is_that_of_the_model() -> None:
    assert EmbeddingJob.MOST_ATTEMPTS == 5, "the statements of kb.indexes.embedding_queue say 5"


def test_a_small_upload_is_in_the_first_lease_beside_a_large_one(
    version: IndexVersion, collections: list[Collection]
) -> None:
    large = chunked(version, collections[0], words(900))
    small = chunked(version, collections[1], words(20))
    inputs = lease(version, 512)
    assert shares(inputs) == {large.collection_id: 492, small.collection_id: 20}
    assert len({given.job_id for given in inputs}) == 512


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([100, 100], 50, [25, 25]),
        ([3, 100, 100], 60, [3, 28, 28]),
        ([1, 1, 1], 10, [1, 1, 1]),
        ([5, 100], 1000, [5, 100]),
        ([0, 40], 30, [0, 30]),
    ],
)
def test_what_one_collection_does_not_need_goes_to_the_others(
    sizes: list[int], most: int, expected: list[int], version: IndexVersion, collections: list[Collection]
) -> None:
    for size, collection in zip(sizes, collections, strict=False):
        chunked(version, collection, words(size))
    taken = shares(lease(version, most))
    for number, collection in zip(expected, collections, strict=False):
        assert number <= taken[collection.pk] <= number + 1
    assert sum(taken.values()) <= most


def test_more_collections_than_a_lease_holds_are_served_one_after_the_other(
    version: IndexVersion, collections: list[Collection]
) -> None:
    for collection in collections:
        chunked(version, collection, words(10))
    served = Counter[int]()
    for _ in range(6):
        taken = shares(lease(version, 2))
        assert sum(taken.values()) == 2
        served += taken
    assert set(served.values()) == {3}


def test_in_a_collection_the_oldest_come_first(version: IndexVersion, collections: list[Collection]) -> None:
    first, second = (chunked(version, collections[0], words(10)) for _ in range(2))
    assert {given.document_id for given in lease(version, 10)} == {first.pk}
    assert {given.document_id for given in lease(version, 10)} == {second.pk}


def test_paused_jobs_are_never_leased(version: IndexVersion, collections: list[Collection]) -> None:
    held = chunked(version, collections[0], words(10), paused=True)
    other = chunked(version, collections[0], words(3))
    assert {given.document_id for given in lease(version)} == {other.pk}
    assert waiting(held) == 10
    EmbeddingJob.objects.filter(chunk__document=other).delete()
    assert not embedding_queue.has_work(version)
    assert lease(version) == []


def test_a_lease_that_ran_out_is_taken_again(version: IndexVersion, collections: list[Collection]) -> None:
    chunked(version, collections[0], words(3))
    assert len(lease(version)) == 3
    assert lease(version) == []
    assert not embedding_queue.has_work(version)
    EmbeddingJob.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    assert embedding_queue.has_work(version)
    assert len(lease(version)) == 3
    assert set(EmbeddingJob.objects.values_list("attempts", flat=True)) == {2}


def test_a_text_that_ends_workers_takes_no_others_with_it(
    version: IndexVersion, collections: list[Collection]
) -> None:
    """A worker dies of one in sixteen, and can say nothing; the other fifteen are done within its attempts."""
    document = chunked(version, collections[0], words(10))
    chunked(version, collections[1], words(6))
    poison = EmbeddingJob.objects.filter(chunk__document=document).order_by("pk")[4].pk
    deaths = 0
    while inputs := lease(version, 16):
        jobs = [given.job_id for given in inputs]
        if poison in jobs:
            deaths += 1
            EmbeddingJob.objects.filter(pk__in=jobs).update(lease_until=timezone.now() - timedelta(hours=1))
        else:
            embedding_queue.remove(jobs)
    assert deaths == EmbeddingJob.MOST_ATTEMPTS
    assert EmbeddingJob.objects.get().pk == poison


def test_what_is_suspected_comes_alone_and_first(
    version: IndexVersion, collections: list[Collection]
) -> None:
    chunked(version, collections[0], words(3))
    chunked(version, collections[1], words(3))
    suspect = EmbeddingJob.objects.order_by("pk")[4].pk
    EmbeddingJob.objects.filter(pk=suspect).update(attempts=2)
    assert [given.job_id for given in lease(version)] == [suspect]
    assert len(lease(version)) == 5


def test_what_failed_by_an_error_is_not_suspected(
    version: IndexVersion, collections: list[Collection]
) -> None:
    chunked(version, collections[0], words(3))
    EmbeddingJob.objects.update(attempts=3, error="away")
    assert len(lease(version)) == 3


def test_what_was_tried_too_often_is_not_leased(version: IndexVersion, collections: list[Collection]) -> None:
    chunked(version, collections[0], words(2))
    EmbeddingJob.objects.update(attempts=EmbeddingJob.MOST_ATTEMPTS)
    assert lease(version) == []


def test_jobs_given_back_are_as_if_they_had_not_been_taken(
    version: IndexVersion, collections: list[Collection]
) -> None:
    chunked(version, collections[0], words(3))
    embedding_queue.release(lease(version))
    embedding_queue.release([])
    assert set(EmbeddingJob.objects.values_list("attempts", "lease_until")) == {(0, None)}
    assert len(lease(version)) == 3


def test_after_a_failure_the_pause_grows(version: IndexVersion, collections: list[Collection]) -> None:
    chunked(version, collections[0], words(1))
    for attempt, seconds in enumerate((20, 40, 80, 160, None), start=1):
        (given,) = lease(version)
        assert embedding_queue.postpone([given], "away") == {given.job_id}
        assert EmbeddingJob.objects.get().attempts == attempt
        job = EmbeddingJob.objects.get()
        if seconds is None:
            assert (job.lease_until, job.error) == (None, "away")
        else:
            assert abs((job.lease_until - timezone.now()).total_seconds() - seconds) < 5
        EmbeddingJob.objects.update(lease_until=None)
    assert lease(version) == []


def test_a_job_is_removed_once(version: IndexVersion, collections: list[Collection]) -> None:
    chunked(version, collections[0], words(2))
    ids = [given.job_id for given in lease(version)]
    assert embedding_queue.locked(ids) == set(ids)
    assert embedding_queue.remove(ids) == set(ids)
    assert embedding_queue.remove(ids) == embedding_queue.locked(ids) == embedding_queue.remove([]) == set()


def test_enqueueing_again_renews_what_failed_and_leaves_what_is_leased(
    version: IndexVersion, collections: list[Collection]
) -> None:
    document = chunked(version, collections[0], words(3))
    leased, failed, given_up = EmbeddingJob.objects.order_by("pk")
    soon = timezone.now() + timedelta(seconds=60)
    EmbeddingJob.objects.filter(pk=leased.pk).update(attempts=1, lease_until=soon)
    EmbeddingJob.objects.filter(pk=failed.pk).update(attempts=1, lease_until=soon, error="away")
    EmbeddingJob.objects.filter(pk=given_up.pk).update(attempts=5, error="away")
    Document.objects.update(paused=True)
    assert embedding_queue.enqueue(version, [document], version.chunking) == {document.pk: (3, 3)}
    assert list(
        EmbeddingJob.objects.order_by("pk").values_list("attempts", "lease_until", "error", "paused")
    ) == [(0, soon, "", True), (0, None, "", True), (0, None, "", True)]


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_get_different_jobs(version: IndexVersion, collections: list[Collection]) -> None:
    for collection in collections:
        chunked(version, collection, words(50))
    together = Barrier(4)

    def work(_: int) -> list[int]:
        try:
            together.wait(timeout=10)
            return [given.job_id for given in lease(version, 40)]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        taken = [job for jobs in workers.map(work, range(4)) for job in jobs]
    assert len(taken) == len(set(taken)) == 160
    assert set(EmbeddingJob.objects.values_list("attempts", flat=True)) == {0, 1}
