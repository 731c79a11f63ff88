"""A version is built beside what serves, whatever is cut short, changed or deleted meanwhile."""

import threading
from collections.abc import Sequence

import psycopg
import pytest
from django.db import connection, transaction

from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents.models import Chunk, Document
from kb.indexes import building, embedding, embedding_queue, embedding_table, graph
from kb.indexes.building import Step, advance, phase
from kb.indexes.lifecycle import move
from kb.indexes.models import EmbeddingJob, Index, IndexVersion
from kb.indexes.version_actions import Wanted, build, cancel, pause, resume
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked, table
from tests.kb.indexes.versions import another_space, built, report, state_of

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = [f"{fruit} and {other}" for fruit in ("apple", "pear", "plum") for other in ("cheese", "bread")]


@pytest.fixture
def stocked(version: IndexVersion, collection: Collection) -> Document:
    """A document that is embedded in the live version."""
    document = chunked(version, collection, TEXTS)
    embed_all(version, Counting(version))
    return document


def begin(index: Index, **wanted: object) -> IndexVersion:
    return build(None, index, Wanted(**(wanted or {"model": another_space()})))


@pytest.mark.usefixtures("stocked")
class TestBuild:
    def test_from_the_first_vector_to_the_validation(self, index: Index) -> None:
        made = begin(index)
        assert (made.state, made.number, graph.valid(made)) == ("building", 2, None)
        assert advance(made.pk) is Step.EMBED
        assert EmbeddingJob.objects.filter(version=made).count() == len(TEXTS)
        assert graph.valid(made) is None, "the graph is built when all is loaded"
        embedding.embed_for(made, 60)
        assert advance(made.pk) is Step.OVER
        made.refresh_from_db()
        assert (made.state, graph.valid(made)) == ("validating", True)
        assert made.built_at is not None
        assert len(table(made)) == len(TEXTS)
        assert phase(made).done == phase(made).total == len(TEXTS)

    def test_each_step_may_run_twice(self, index: Index) -> None:
        made = begin(index)
        advance(made.pk)
        advance(made.pk)
        assert EmbeddingJob.objects.filter(version=made).count() == len(TEXTS)
        built(made)
        assert advance(made.pk) is Step.OVER
        assert state_of(made) == "validating"

    def test_the_same_model_and_chunking_embed_nothing(self, index: Index, version: IndexVersion) -> None:
        made = build(None, index, Wanted(hnsw_m=8, derive=False))
        assert advance(made.pk) is Step.EMBED
        embedder = Counting(made)
        embed_all(made, embedder)
        assert embedder.calls == []
        assert built(made).state == "validating"
        assert table(made) == table(version)

    def test_the_two_spaces_differ(self, index: Index, version: IndexVersion) -> None:
        made = built(begin(index))
        assert made.dimensions == 64
        assert not {vector for _, vector in table(made).values()} & {v for _, v in table(version).values()}

    def test_what_was_written_before_a_kill_is_kept(self, index: Index) -> None:
        made = begin(index)
        embedding_queue.enqueue_portion(made, 0, most=2)
        embedding.embed_for(made, 60)
        assert len(table(made)) == 2
        embedder = Counting(made)
        assert advance(made.pk) is Step.EMBED
        embed_all(made, embedder)
        assert len(embedder.texts) == len(TEXTS) - 2
        assert built(made).state == "validating"

    def test_only_one_process_takes_a_step(self, index: Index) -> None:
        made = begin(index)
        steps = []

        def other() -> None:
            steps.append(advance(made.pk))
            connection.close()

        with building.alone(made.pk) as mine:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
        assert (mine, steps) == (True, [Step.OVER])
        assert advance(made.pk) is Step.EMBED

    def test_a_step_without_time_is_taken_up_again(self, index: Index) -> None:
        made = begin(index)
        assert advance(made.pk, seconds=-1) is Step.AGAIN
        assert advance(made.pk) is Step.EMBED


class TestMeanwhile:
    def test_added_deleted_and_replaced(
        self, index: Index, version: IndexVersion, collection: Collection, stocked: Document
    ) -> None:
        made = begin(index)
        advance(made.pk)
        embedding.embed_for(made, 60)
        gone = list(stocked.chunks.values_list("pk", flat=True))[:2]
        Chunk.objects.filter(pk__in=gone).delete()
        new = chunked(version, collection, ["quince", "medlar"])
        embedding_queue.enqueue(made, [new], made.chunking)
        assert advance(made.pk) is Step.EMBED
        embed_all(version, Counting(version))
        assert built(made).state == "validating"
        assert set(table(made)) == set(table(version)) == set(Chunk.objects.values_list("pk", flat=True))

    def test_a_chunk_whose_job_was_lost_is_found_before_the_end(
        self, index: Index, version: IndexVersion, collection: Collection, stocked: Document
    ) -> None:
        made = begin(index)
        advance(made.pk)
        embedding.embed_for(made, 60)
        chunked(version, collection, ["quince"])  # its transaction did not know of the new version yet
        assert advance(made.pk) is Step.EMBED
        assert built(made).state == "validating"
        assert len(table(made)) == len(TEXTS) + 1

    @pytest.mark.usefixtures("stocked")
    def test_paused_and_resumed(self, index: Index, version: IndexVersion, collection: Collection) -> None:
        made = begin(index)
        advance(made.pk)
        pause(None, made)
        assert advance(made.pk) is Step.OVER
        chunked(version, collection, ["quince"])
        assert made.pk not in building.idle()
        resume(None, made)
        assert built(made).state == "validating"
        assert len(table(made)) == len(TEXTS) + 1

    @pytest.mark.usefixtures("stocked")
    def test_cancelled_at_the_end(self, index: Index, version: IndexVersion) -> None:
        made = begin(index)
        advance(made.pk)
        embedding.embed_for(made, 60)
        cancel(None, made)
        assert advance(made.pk) is Step.OVER
        assert state_of(made) == "cancelled"
        assert state_of(version) == "live"

    @pytest.mark.usefixtures("stocked")
    def test_a_promotion_while_a_third_is_built(self, index: Index) -> None:
        second, third = built(begin(index)), begin(index, model=another_space(32))
        advance(third.pk)
        report(second)
        move(second.pk, "live", None, "")
        assert built(third).state == "validating"
        assert len(table(third)) == len(TEXTS)


@pytest.mark.usefixtures("stocked")
class TestFailure:
    @pytest.fixture
    def failing(self, index: Index) -> IndexVersion:
        """A version one chunk of which was tried too often."""
        made = begin(index)
        advance(made.pk)
        embed_all(made, Counting(made, lambda text: "plum and bread" in text))
        EmbeddingJob.objects.filter(version=made).update(attempts=5, lease_until=None)
        return made

    def test_what_cannot_be_embedded_fails_the_build(self, failing: IndexVersion) -> None:
        assert advance(failing.pk) is Step.OVER
        failing.refresh_from_db()
        assert failing.state == "failed"
        assert failing.error == "1 chunks could not be embedded: no vector for this"

    def test_a_failed_build_is_taken_up_again(self, failing: IndexVersion) -> None:
        advance(failing.pk)
        resume(None, failing)
        assert built(failing).state == "validating"
        assert failing.error == ""

    def test_what_the_live_version_cannot_embed_either_stops_nobody(
        self, failing: IndexVersion, version: IndexVersion
    ) -> None:
        job = EmbeddingJob.objects.get(version=failing)
        EmbeddingJob.objects.create(
            version=version, chunk_id=job.chunk_id, collection_id=job.collection_id, attempts=5
        )
        advance(failing.pk)
        assert state_of(failing) == "validating"

    def test_an_index_that_was_cut_short_is_built_anew(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = begin(index)
        advance(made.pk)
        embedding.embed_for(made, 60)
        invalidate(made)
        assert graph.valid(made) is False
        assert advance(made.pk) is Step.OVER
        assert (state_of(made), graph.valid(made)) == ("validating", True)

    def test_a_database_that_goes_away_is_waited_for(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = begin(index)
        advance(made.pk)
        embedding.embed_for(made, 60)

        def away(*_: object) -> None:
            raise psycopg.OperationalError("the server closed the connection unexpectedly")

        with monkeypatch.context() as patched:
            patched.setattr(graph, "ensure", away)
            assert advance(made.pk) is Step.OVER
        made.refresh_from_db()
        assert (made.state, made.index_tries) == ("building", 1)
        assert "closed the connection" in made.error
        assert building.idle() == [made.pk], "a sweep finds it"
        assert built(made).state == "validating"
        assert made.error == ""

    @pytest.mark.parametrize(
        ("error", "tries"),
        [
            (psycopg.errors.DiskFull("No space left on device"), 1),
            (psycopg.errors.ProgramLimitExceeded("column cannot have more than 4000 dimensions"), 1),
            (psycopg.errors.CrashShutdown("the database ends"), building.MOST_INDEX_TRIES),
        ],
    )
    def test_an_index_that_cannot_be_built_is_not_tried_for_ever(
        self, index: Index, error: psycopg.Error, tries: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = begin(index)
        advance(made.pk)
        embedding.embed_for(made, 60)
        tried = []

        def refused(*_: object) -> None:
            tried.append(made.pk)
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(graph, "ensure", refused)
            while state_of(made) == "building":
                advance(made.pk)
        assert len(tried) == tries
        assert str(error) in IndexVersion.objects.get(pk=made.pk).error
        resume(None, made)
        assert built(made).state == "validating"

    def test_documents_that_people_hold_back_are_waited_for(
        self, index: Index, version: IndexVersion, collection: Collection
    ) -> None:
        held = chunked(version, collection, ["held back"], paused=True)
        made = begin(index)
        assert advance(made.pk) is Step.EMBED
        embedding.embed_for(made, 60)
        assert advance(made.pk) is Step.EMBED
        assert phase(made).paused == 1
        EmbeddingJob.objects.filter(chunk__document=held).update(paused=False)
        assert built(made).state == "validating"


def invalidate(version: IndexVersion) -> None:
    """Leaves behind what a restart of the database during the concurrent build does."""
    with connection.cursor() as cursor:
        cursor.execute(graph.definition(version, concurrently=False))
        cursor.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", [graph.name(version)]
        )


@pytest.mark.usefixtures("stocked")
class TestWanted:
    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ({"dimensions": 385}, "dimensions"),
            ({"dimensions": 0, "model": None, "storage": "nothing"}, "storage"),
            ({"hnsw_m": 1}, "hnsw_m"),
            ({"hnsw_ef_construction": 8}, "hnsw_ef_construction"),
            ({"hnsw_ef_search": 2000}, "hnsw_ef_search"),
        ],
    )
    def test_what_cannot_be_searched_is_refused(
        self, index: Index, wanted: dict[str, object], field: str
    ) -> None:
        with pytest.raises(Problem) as refused:
            build(None, index, Wanted(**wanted))
        assert (refused.value.status, refused.value.extra["field"]) == (422, field)
        assert IndexVersion.objects.count() == 1

    def test_a_model_that_cannot_be_cut_is_not(self, index: Index) -> None:
        with pytest.raises(Problem) as refused:
            build(None, index, Wanted(dimensions=256))
        assert refused.value.code == "not_matryoshka"

    def test_a_refused_build_leaves_no_table(self, index: Index, admin: User) -> None:
        with transaction.atomic():
            made = build(admin, index, Wanted(hnsw_m=8))
            transaction.set_rollback(True)
        assert not embedding_table.exists(made)


def test_numbers_go_up(index: Index) -> None:
    def numbers(count: int) -> Sequence[int]:
        return [build(None, index, Wanted()).number for _ in range(count)]

    assert numbers(3) == [2, 3, 4]
