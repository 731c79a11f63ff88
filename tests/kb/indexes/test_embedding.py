"""Nothing is embedded twice, one bad input costs its own document only, and what is not begun is given back."""

import math
from collections.abc import Sequence
from datetime import timedelta
from threading import Event
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone

from kb.core.beating import Pace
from kb.core.models import Collection, User
from kb.documents import parsing
from kb.documents.actions import add_document, delete_document, replace_document
from kb.documents.models import Chunk, Chunking, Document, DocumentStage
from kb.indexes import embedding, embedding_queue, embedding_table
from kb.indexes.embedding import MOST_IN_A_ROW, batches, lease_size
from kb.indexes.embedding_queue import Input, lease
from kb.indexes.models import EmbeddingJob, EmbeddingModel, Index, IndexVersion
from retrieval.embedders import EmbedderAway, Kind, Vectors
from tests.conftest import load_here
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked, table, waiting
from tests.kb.indexes.versions import another_space

pytestmark = pytest.mark.django_db

PARAGRAPHS = [f"Paragraph {word}. " + f"Words about {word}s. " * 60 for word in ("apple", "pear", "quince")]


def put_in(
    actor: User, collection: Collection, paragraphs: Sequence[str], name: str = "fruit.txt"
) -> Document:
    content = ContentFile("\n\n".join(paragraphs).encode(), name)
    document = add_document(actor, collection, content).document
    parsing.parse(document.pk, load_here)
    return document


def state(document: Document) -> str:
    return Document.objects.get(pk=document.pk).state


def stage(document: Document) -> DocumentStage:
    return DocumentStage.objects.get(document=document, stage="embed")


def another_version(version: IndexVersion, **changes: object) -> IndexVersion:
    """A version being built beside the live one."""
    given = {
        "model": version.model, "chunking": version.chunking, "dimensions": version.dimensions,
        "storage": version.storage,
    } | changes  # fmt: skip
    made = IndexVersion.objects.create(
        index=version.index,
        number=IndexVersion.objects.count() + 1,
        state=IndexVersion.State.BUILDING,
        **given,
    )
    embedding_table.create(made)
    return made


class TestNoWorkTwice:
    def test_the_same_text_in_another_collection_embeds_nothing_and_tells_nothing(
        self, alice: User, charlie: User, collection: Collection, other: Collection, version: IndexVersion
    ) -> None:
        first = put_in(alice, collection, PARAGRAPHS)
        embed_all(version, Counting(version))
        made = table(version)
        second = put_in(charlie, other, PARAGRAPHS)
        embedder = Counting(version)
        embed_all(version, embedder)
        assert embedder.calls == []
        assert (state(first), state(second)) == ("ready", "ready")
        copies = {chunk: row for chunk, row in table(version).items() if chunk not in made}
        assert sorted(copies.values()) == sorted(made.values())
        found = stage(second)
        assert (found.done, found.reused) == (found.total, 0), (
            "how much was reused would tell what others have"
        )

    def test_a_copied_vector_says_nothing_of_the_one_it_was_copied_from(
        self, alice: User, charlie: User, collection: Collection, other: Collection, version: IndexVersion
    ) -> None:
        put_in(alice, collection, PARAGRAPHS)
        embed_all(version, Counting(version))
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {version.table} SET created_at = now() - interval '1 day', worker = 'secret'"
            )
        copy = put_in(charlie, other, PARAGRAPHS)
        embed_all(version, Counting(version))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT DISTINCT worker, collection_id, created_at > now() - interval '1 hour' "
                f"FROM {version.table} WHERE chunk_id = ANY(%s)",
                [list(copy.chunks.values_list("pk", flat=True))],
            )
            ((worker, collection_id, new),) = cursor.fetchall()
        assert (worker != "secret", collection_id, new) == (True, other.pk, True)

    def test_the_same_text_in_the_same_collection_is_counted_as_reused(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        chunked(version, collection, ["one", "two"])
        embed_all(version, Counting(version))
        second = chunked(version, collection, ["two", "three", "three"])
        embedder = Counting(version)
        embed_all(version, embedder)
        assert len(embedder.texts) == 1, "equal inputs of one lease, too"
        assert (stage(second).done, stage(second).reused, stage(second).state) == (3, 2, "done")
        assert len(table(version)) == 5

    def test_a_new_version_of_a_document_embeds_only_the_chunks_that_changed(
        self, alice: User, collection: Collection, version: IndexVersion
    ) -> None:
        document = put_in(alice, collection, PARAGRAPHS)
        embed_all(version, Counting(version))
        before = set(Chunk.objects.values_list("rendered_hash", flat=True))
        changed = [*PARAGRAPHS[:2], PARAGRAPHS[2] + "And a medlar."]
        replace_document(alice, document, ContentFile("\n\n".join(changed).encode(), "fruit.txt"))
        parsing.parse(document.pk, load_here)
        embedder = Counting(version)
        embed_all(version, embedder)
        after = set(Chunk.objects.values_list("rendered_hash", flat=True))
        assert 0 < len(embedder.texts) == len(after - before) < len(after)
        found = stage(document)
        assert (found.done, found.reused) == (len(after), len(after & before))
        assert state(document) == "ready"

    def test_the_same_words_in_a_new_file_embed_nothing(
        self, alice: User, collection: Collection, version: IndexVersion
    ) -> None:
        document = put_in(alice, collection, PARAGRAPHS)
        embed_all(version, Counting(version))
        replace_document(alice, document, ContentFile(("\n\n".join(PARAGRAPHS) + "\n").encode(), "fruit.txt"))
        parsing.parse(document.pk, load_here)
        embedder = Counting(version)
        embed_all(version, embedder)
        assert embedder.calls == []
        assert stage(document).reused == stage(document).total == document.chunks.count()

    def test_rechunking_with_unchanged_spans_embeds_nothing(
        self, alice: User, collection: Collection, version: IndexVersion
    ) -> None:
        document = put_in(alice, collection, PARAGRAPHS)
        embed_all(version, Counting(version))
        chunking = Chunking.objects.create(
            settings=version.chunking.settings, tokenizer_hash="another", analyser_hash="another"
        )
        built = another_version(version, chunking=chunking)
        replace_document(alice, document, ContentFile("\n\n".join(PARAGRAPHS).encode() + b"\n", "fruit.txt"))
        parsing.parse(document.pk, load_here)
        embedder = Counting(version)
        embed_all(built, embedder)
        assert embedder.calls == []
        assert sorted(table(built).values()) == sorted(table(version).values())
        assert not set(table(built)) & set(table(version)), "the chunks are others"

    @pytest.mark.parametrize("difference", ["model", "storage", "number_format"])
    def test_what_is_not_the_same_vector_is_made_anew(
        self, difference: str, collection: Collection, version: IndexVersion
    ) -> None:
        document = chunked(version, collection, ["one", "two"])
        embed_all(version, Counting(version))
        changes: dict[str, object] = {}
        if difference == "model":
            model = EmbeddingModel.objects.get(pk=version.model_id)
            model.pk, model.revision = None, "another"
            model.save()
            changes = {"model": model}
        elif difference == "storage":
            changes = {"storage": IndexVersion.Storage.VECTOR}
        built = another_version(version, **changes)
        embedding_queue.enqueue(built, [document], built.chunking)
        embedder = Counting(version, number_format="int8" if difference == "number_format" else None)
        embed_all(built, embedder)
        assert len(embedder.texts) == 2
        assert len(table(built)) == 2

    def test_a_text_that_stands_everywhere_is_copied_all_the_same(
        self, collection: Collection, other: Collection, version: IndexVersion
    ) -> None:
        chunked(version, other, ["legal notice"] * (embedding_table.MOST_LOOKED_AT + 5))
        embedder = Counting(version)
        embed_all(version, embedder)
        assert len(embedder.texts) == 1
        chunked(version, collection, ["legal notice"])
        embed_all(version, embedder)
        assert len(embedder.texts) == 1
        assert len({vector for _, vector in table(version).values()}) == 1


class TestBatches:
    def test_are_of_like_length_across_documents_the_longest_first(self) -> None:
        inputs = [
            Input(n, n, 1, UUID(int=n % 3), "x", bytes([n % 20]), tokens=(n % 20) * 7 % 19) for n in range(40)
        ]
        cut = list(batches(inputs, 6))
        lengths = [alike[0].tokens for batch in cut for alike in batch]
        assert lengths == sorted(lengths, reverse=True)
        assert [len(batch) for batch in cut] == [6, 6, 6, 2], "equal inputs count once"
        assert sorted(given.job_id for batch in cut for alike in batch for given in alike) == list(range(40))

    @pytest.mark.parametrize(
        ("measured", "size"),
        [
            (None, embedding.FIRST_LEASE),
            ((0, 0.0), embedding.FIRST_LEASE),
            ((46, 1.0), 414),
            ((2000, 1.0), 512),
            ((1, 60.0), embedding.FEWEST),
        ],
    )
    def test_a_lease_is_some_seconds_of_work(self, measured: tuple[float, float] | None, size: int) -> None:
        pace = Pace(*measured) if measured else None
        assert lease_size(pace) == size
        assert EmbeddingJob.LEASE.total_seconds() / 4 > embedding.LEASE_SECONDS

    def test_the_first_batch_of_a_process_is_not_measured(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        chunked(version, collection, [f"word {number}" for number in range(60)])
        assert embedding.embed_for(version, 60) is False
        pace = embedding._paces[version.pk]
        assert pace.units == pytest.approx(60 - embedding.FIRST_LEASE, rel=0.1)
        assert waiting(Document.objects.get()) == 0


def test_the_model_is_at_the_next_batch_while_one_is_written(
    collection: Collection, version: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = chunked(version, collection, ["one", "two", "three", "four"])
    embedder, begun, write = Counting(version), Event(), embedding.write

    def told(text: str) -> bool:
        if len(embedder.calls) == 2:
            begun.set()
        return False

    def written(*given: Any) -> set[int]:
        assert begun.wait(30)
        return write(*given)

    embedder.fails = told
    monkeypatch.setattr(embedding, "BATCH", 2)
    monkeypatch.setattr(embedding, "write", written)
    assert embedding.embed_batch(version, lease(version), embedder)
    assert [len(call) for call in embedder.calls] == [2, 2]
    assert (state(document), len(table(version))) == ("ready", 4)


class TestTrouble:
    def test_a_bad_input_costs_a_few_tries_and_fails_its_own_document(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        good = [chunked(version, collection, [f"good {n} {m}" for m in range(8)]) for n in range(7)]
        bad = chunked(version, collection, ["fine", "poison", "well"])
        embedder = Counting(version, fails=lambda text: "poison" in text)
        for attempt in range(1, EmbeddingJob.MOST_ATTEMPTS + 1):
            assert embedding.embed_batch(version, lease(version), embedder)
            if attempt == 1:
                assert len(embedder.calls) == pytest.approx(1 + 2 * math.log2(59), abs=3)
            assert (state(bad), stage(bad).attempt) == ("embedding", attempt + 1) or attempt == 5
            assert lease(version) == [], "a failed attempt is followed by a pause"
            EmbeddingJob.objects.update(lease_until=timezone.now() - timedelta(hours=1))
        assert {state(document) for document in good} == {"ready"}
        assert (state(bad), stage(bad).state, stage(bad).done) == ("failed", "failed", 2)
        assert "no vector for this" in stage(bad).error
        assert lease(version) == [], "it is tried no more"
        assert len(table(version)) == 58

    def test_a_model_that_is_away_is_asked_a_few_times_and_the_work_kept(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        documents = [chunked(version, collection, [f"text {n}"]) for n in range(40)]
        embedder = Counting(version, fails=lambda _: True)
        assert not embedding.embed_batch(version, lease(version), embedder)
        assert len(embedder.calls) < 15
        tried = EmbeddingJob.objects.filter(attempts=1)
        assert tried.count() == MOST_IN_A_ROW
        assert EmbeddingJob.objects.filter(attempts=0, lease_until=None).count() == 40 - MOST_IN_A_ROW
        tried.update(lease_until=None)
        embed_all(version, Counting(version))
        assert {state(document) for document in documents} == {"ready"}

    def test_a_model_that_fails_on_all_of_a_book_is_asked_a_few_times(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        chunked(version, collection, [f"text {n}" for n in range(128)])
        embedder = Counting(version, fails=lambda _: True)
        assert not embedding.embed_batch(version, lease(version), embedder)
        assert len(embedder.calls) < 40
        assert EmbeddingJob.objects.filter(attempts=1).count() == embedding.MOST_INPUTS_IN_A_ROW

    def test_a_model_that_takes_nothing_costs_no_attempts_and_is_left_alone(
        self, collection: Collection, version: IndexVersion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Busy(Counting):
            def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
                self.calls.append(list(texts))
                raise EmbedderAway("too many requests", 60)

        document = chunked(version, collection, [f"text {n}" for n in range(40)])
        embedder = Busy(version)
        monkeypatch.setattr(embedding.providers, "embedder_for", lambda _: embedder)
        assert not embedding.embed_for(version, 60)
        assert len(embedder.calls) == 1, "no half of a batch is asked for"
        assert set(EmbeddingJob.objects.values_list("attempts", "lease_until", "error")) == {(0, None, "")}
        assert not embedding.embed_for(version, 60)
        assert len(embedder.calls) == 1, "its rest is not over"
        monkeypatch.undo()
        embedding._rests[version.model_id] -= 60
        assert not embedding.embed_for(version, 60)
        assert (state(document), waiting(document)) == ("ready", 0)

    def test_a_build_says_why_it_does_not_get_on(self, collection: Collection, version: IndexVersion) -> None:
        class Busy(Counting):
            def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
                raise EmbedderAway("too many requests")

        document = chunked(version, collection, ["one"])
        built = another_version(version, model=another_space(), dimensions=64)
        embedding_queue.enqueue(built, [document], built.chunking)
        assert not embedding.embed_batch(built, lease(built), Busy(built))
        assert "too many requests" in IndexVersion.objects.get(pk=built.pk).error
        assert embedding.embed_batch(built, lease(built))
        assert IndexVersion.objects.get(pk=built.pk).error == ""

    def test_a_model_that_cannot_be_loaded_lets_the_work_wait(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        class Unloadable(Counting):
            def describe(self) -> object:
                raise OSError("no weights")

        document = chunked(version, collection, ["one"])
        for _ in range(EmbeddingJob.MOST_ATTEMPTS):
            assert not embedding.embed_batch(version, lease(version), Unloadable(version))
            EmbeddingJob.objects.update(lease_until=None)
        assert (state(document), stage(document).error) == ("failed", "Embedding failed: no weights")

    def test_a_wrong_shape_or_number_is_no_vector(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        class Broken(Counting):
            def embed(self, texts: Sequence[str], kind: object) -> object:
                return np.full((len(texts), version.dimensions), np.nan, np.float32)

        chunked(version, collection, ["one", "two"])
        embedding.embed_batch(version, lease(version), Broken(version))
        assert table(version) == {}
        assert set(EmbeddingJob.objects.values_list("attempts", flat=True)) == {1}

    def test_what_is_not_begun_when_the_worker_is_to_stop_is_given_back(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        document = chunked(version, collection, [f"text {n}" for n in range(100)])
        asked = iter([False, True])
        assert embedding.embed_batch(version, lease(version), Counting(version), lambda: next(asked))
        assert waiting(document) == 100 - embedding.BATCH
        assert set(EmbeddingJob.objects.values_list("attempts", "lease_until")) == {(0, None)}
        assert (stage(document).done, state(document)) == (embedding.BATCH, "embedding")

    def test_what_is_not_begun_when_the_lease_nears_its_end_is_given_back(
        self, collection: Collection, version: IndexVersion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedding, "GIVE_BACK_SECONDS", -1)
        chunked(version, collection, ["one", "two"])
        embedder = Counting(version)
        embedding.embed_batch(version, lease(version), embedder)
        assert embedder.calls == []
        assert set(EmbeddingJob.objects.values_list("attempts", "lease_until")) == {(0, None)}


class TestDelivery:
    def test_a_lease_that_ran_out_and_was_taken_by_another_worker_is_written_once(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        document = chunked(version, collection, ["one", "two", "three"])
        slow = lease(version)
        EmbeddingJob.objects.update(lease_until=timezone.now() - timedelta(hours=1))
        quick = lease(version)
        embedder = Counting(version)
        embedding.embed_batch(version, quick, embedder)
        made = table(version)
        embedding.embed_batch(version, slow, embedder)
        assert table(version) == made
        assert (stage(document).done, stage(document).state, state(document)) == (3, "done", "ready")

    def test_working_the_queue_off_twice_changes_nothing(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        chunked(version, collection, ["one", "two"])
        assert embedding.embed_for(version, 60) is False
        made = table(version)
        assert embedding.embed_for(version, 60) is False
        assert table(version) == made
        assert len(made) == 2

    def test_a_document_deleted_between_lease_and_write_leaves_nothing(
        self, alice: User, collection: Collection, version: IndexVersion
    ) -> None:
        gone = chunked(version, collection, ["one", "two"])
        stays = chunked(version, collection, ["three"])
        inputs = lease(version)
        delete_document(alice, gone)
        embedding.embed_batch(version, inputs, Counting(version))
        assert set(table(version)) == set(stays.chunks.values_list("pk", flat=True))
        assert (state(stays), EmbeddingJob.objects.count()) == ("ready", 0)

    def test_a_document_deleted_while_its_vectors_are_copied_leaves_nothing(
        self, alice: User, collection: Collection, version: IndexVersion
    ) -> None:
        chunked(version, collection, ["one", "two"])
        embed_all(version, Counting(version))
        gone = chunked(version, collection, ["one", "two"])
        inputs = lease(version)
        delete_document(alice, gone)
        embedding.embed_batch(version, inputs, Counting(version))
        assert len(table(version)) == 2

    def test_a_version_that_is_built_holds_no_document_up(
        self, collection: Collection, version: IndexVersion
    ) -> None:
        built = another_version(version)
        document = chunked(version, collection, ["poison"])
        embedding_queue.enqueue(built, [document], built.chunking)
        embedder = Counting(version, fails=lambda _: True)
        for _ in range(EmbeddingJob.MOST_ATTEMPTS):
            embedding.embed_batch(built, lease(built), embedder)
            EmbeddingJob.objects.update(lease_until=None)
        assert state(document) == "embedding"
        embed_all(version, Counting(version))
        assert state(document) == "ready"
        assert stage(document).done == 1


def test_an_index_of_float32_vectors_is_written_too(collection: Collection, index: Index) -> None:
    version = another_version(
        IndexVersion.objects.select_related("model", "index", "chunking").get(pk=index.live_version_id),
        storage=IndexVersion.Storage.VECTOR,
    )
    document = chunked(version, collection, ["apple and pear", "quince"])
    embedder = Counting(version)
    embed_all(version, embedder)
    (one, other) = (np.array(eval(vector), np.float32) for _, (_, vector) in sorted(table(version).items()))
    wanted = embedder.inner.embed(list(embedder.texts), "document")
    found = {tuple(np.round(row, 5)) for row in (one, other)}
    assert found == {tuple(np.round(row, 5)) for row in wanted}
    assert document.chunks.count() == 2
