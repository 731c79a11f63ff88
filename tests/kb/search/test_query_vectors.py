"""A question's vector is embedded once and then comes from the cache; neither a bad cache nor a bad model stops it."""

import logging
import pickle
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import redis
from django.core.cache.backends.locmem import LocMemCache
from redis.exceptions import ConnectionError as CacheGone

from kb.core import pools
from kb.core.embedded import layout, valkey
from kb.indexes import providers
from kb.indexes.models import EmbeddingModel, IndexVersion
from kb.search import query_vectors
from kb.search.query_vectors import QuestionEmbedder, Shelf, Size, key, normalised
from retrieval.embedders import EmbeddingError, Kind, Vectors
from retrieval.embedders.breaker import TooSlow, Unasked
from retrieval.embedders.hashing import HashingEmbedder

DIMENSIONS = 384


class Counting(HashingEmbedder):
    """Counts what it embeds."""

    def __init__(self) -> None:
        super().__init__(DIMENSIONS)
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        self.asked += texts
        return super().embed(texts, kind)


class Hanging:
    """Answers when it is let go, or after half a minute."""

    def __init__(self) -> None:
        self.gate, self.began = threading.Event(), 0

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        self.began += 1
        self.gate.wait(30)
        return HashingEmbedder(DIMENSIONS).embed(texts, kind)


@pytest.fixture(autouse=True)
def shelf(monkeypatch: pytest.MonkeyPatch, settings: object) -> Shelf:
    """An empty one."""
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(time.monotonic_ns())}}  # type: ignore[attr-defined]
    made = Shelf()
    monkeypatch.setattr(query_vectors, "shelf", made)
    return made


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.gate.set()


@pytest.fixture
def version() -> IndexVersion:
    model = EmbeddingModel(provider="hashing", name="hashing", dimensions=DIMENSIONS)
    return IndexVersion(pk=7, model=model, dimensions=DIMENSIONS)


def vector_of(text: str) -> np.ndarray:
    return HashingEmbedder(DIMENSIONS).embed([text], "query")[0]


def settled(embedder: object) -> None:
    """Returns once what was embedded is in the cache: the next in the same thread comes after it."""
    query_vectors.guard_of(embedder)._threads.submit(lambda: None).result(10)  # type: ignore[arg-type]


def test_a_question_is_embedded_once(version: IndexVersion) -> None:
    embedder = Counting()
    first = QuestionEmbedder(version, embedder)
    np.testing.assert_array_equal(
        first.embed(["How are  bees\n fed?"], "query")[0], vector_of("How are bees fed?")
    )
    settled(embedder)
    again = QuestionEmbedder(version, embedder)
    found = again.embed(["How are bees fed?"], "query")
    np.testing.assert_array_equal(found[0], vector_of("How are bees fed?"))
    assert (found.dtype, found.shape) == (np.float32, (1, DIMENSIONS))
    assert embedder.asked == ["How are bees fed?"]
    assert (first.milliseconds.keys(), again.milliseconds.keys()) == ({"cache", "embed"}, {"cache"})


def test_what_was_asked_of_late_needs_no_exchange(
    version: IndexVersion, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_vectors, "MOST_RECENT", 2)
    embedder = Counting()
    for text in ("bees", "ants", "bees", "wasps"):
        QuestionEmbedder(version, embedder).embed([text], "query")
    settled(embedder)
    exchanges: list[str] = []
    monkeypatch.setattr(LocMemCache, "get", lambda _, place: exchanges.append(place))
    for text in ("bees", "wasps"):
        found = QuestionEmbedder(version, embedder).embed([text], "query")[0]
        np.testing.assert_array_equal(found, vector_of(text))
    assert exchanges == []
    QuestionEmbedder(version, embedder).embed(["ants"], "query")
    assert exchanges == [key(version, "ants")], "only so many are held, and those that were used last"


def test_what_is_no_vector_is_not_held(version: IndexVersion, shelf: Shelf) -> None:
    class Wrong(Counting):
        def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
            return super().embed(texts, kind) * np.float32(np.nan)

    QuestionEmbedder(version, Wrong()).embed(["bees"], "query")
    found = QuestionEmbedder(version, Counting()).embed(["bees"], "query")[0]
    np.testing.assert_array_equal(found, vector_of("bees"))


def test_documents_are_not_kept(version: IndexVersion) -> None:
    embedder = Counting()
    for _ in range(2):
        QuestionEmbedder(version, embedder).embed(["text"], "document")
    assert embedder.asked == ["text", "text"]


def test_one_form_of_each_letter_and_single_spaces() -> None:
    assert normalised(" Cafe\u0301 \t au\nlait ") == "Caf\u00e9 au lait"
    assert normalised("US") != normalised("us")


def test_the_key_has_all_that_a_vector_depends_on(
    version: IndexVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {key(version, "a"), key(version, "b")}
    version.pk = 8
    keys.add(key(version, "a"))
    version.model.weights_sha256 = "0" * 64
    keys.add(key(version, "a"))
    monkeypatch.setattr(providers, "identity", lambda model: "another number format")
    keys.add(key(version, "a"))
    assert len(keys) == 5
    assert all(each.startswith("query-vector:") and len(each) < 200 and "a b" not in each for each in keys)


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"short", bytes(4 * DIMENSIONS), np.full(DIMENSIONS, np.nan, "<f4").tobytes(), "text", 7, None, [1.0]],
)  # fmt: skip
def test_rubbish_in_the_cache_is_as_good_as_nothing(
    version: IndexVersion, shelf: Shelf, rubbish: object
) -> None:
    shelf.cache.set(key(version, "bees"), rubbish)
    embedder = Counting()
    found = QuestionEmbedder(version, embedder).embed(["bees"], "query")[0]
    np.testing.assert_array_equal(found, vector_of("bees"))
    settled(embedder)
    np.testing.assert_array_equal(shelf.get(key(version, "bees"), DIMENSIONS), vector_of("bees"))


def test_what_cannot_be_unpickled_is_replaced(
    version: IndexVersion, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpicklable(cache: object, place: str) -> object:
        return pickle.loads(b"rubbish")

    monkeypatch.setattr(LocMemCache, "get", unpicklable)
    embedder = Counting()
    QuestionEmbedder(version, embedder).embed(["bees"], "query")
    settled(embedder)
    monkeypatch.undo()
    assert shelf.get(key(version, "bees"), DIMENSIONS) is not None


def test_a_cache_that_is_down_is_left_alone_for_a_while(
    version: IndexVersion, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def gone(*given: object) -> object:
        asked.append(given)
        raise CacheGone("connection refused")

    monkeypatch.setattr(LocMemCache, "get", gone)
    monkeypatch.setattr(LocMemCache, "set", gone)
    embedder = Counting()
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            QuestionEmbedder(version, embedder).embed([f"question {number}"], "query")
    settled(embedder)
    assert len(embedder.asked) == 5
    assert len(asked) == 1
    assert "connection refused" in caplog.text


def test_a_cache_that_answers_slowly_is_left_alone_too(
    version: IndexVersion, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kb.search.deadlines.CACHE_SECONDS", 0.0)
    assert shelf.exchange(lambda: 7) == 7
    assert shelf.exchange(lambda: pytest.fail("it was to rest")) is None


def test_counting_what_is_in_the_cache_may_take_longer(
    shelf: Shelf, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {  # type: ignore[attr-defined]
        "default": {"BACKEND": "kb.core.caching.RedisCache", "LOCATION": "unix:///nowhere"}
    }
    monkeypatch.setattr("kb.search.deadlines.CACHE_SECONDS", 0.0)
    monkeypatch.setattr(query_vectors, "counted", lambda cache: Size(7, 1696, more=False))
    assert query_vectors.size() == query_vectors.size() == Size(7, 1696, more=False)
    assert shelf.breaker.allows(), "searches go on using it"


@pytest.mark.slow
def test_vectors_in_a_real_valkey_are_counted_and_end(
    version: IndexVersion, shelf: Shelf, settings: object, tmp_path: Path
) -> None:
    layout.sockets(tmp_path).mkdir(parents=True)
    process = subprocess.Popen(valkey.command(tmp_path), stdout=subprocess.DEVNULL)
    try:
        valkey.wait_until_ready(tmp_path, lambda: process.poll() is None)
        settings.QUERY_VECTOR_HOURS = 2  # type: ignore[attr-defined]
        settings.CACHES = {  # type: ignore[attr-defined]
            "default": {
                "BACKEND": "kb.core.caching.RedisCache",
                "LOCATION": f"unix://{layout.valkey_socket(tmp_path)}",
            }
        }
        assert query_vectors.size() == Size(0, 0, more=False)
        place = key(version, "bees")
        shelf.put(place, vector_of("bees"))
        shelf.put(key(version, "ants"), vector_of("ants"))
        np.testing.assert_array_equal(shelf.get(place, DIMENSIONS), vector_of("bees"))
        assert shelf.get(key(version, "wasps"), DIMENSIONS) is None
        size = query_vectors.size()
        assert size is not None
        assert (size.entries, size.more) == (2, False)
        assert size.vector_bytes >= 4 * DIMENSIONS
        with redis.Redis(unix_socket_path=str(layout.valkey_socket(tmp_path))) as client:
            stored = shelf.cache.make_key(place)
            assert 7_100 < client.ttl(stored) <= 7_200
            client.pexpire(stored, 1)
            time.sleep(0.05)
        assert shelf.get(place, DIMENSIONS) is None
        assert query_vectors.size().entries == 1  # type: ignore[union-attr]
    finally:
        shelf.cache.close()
        process.terminate()
        process.wait()


def test_a_cache_that_says_nothing_costs_as_long_as_its_socket_may(
    version: IndexVersion, settings: object, tmp_path: Path
) -> None:
    """A server that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        settings.CACHES = {  # type: ignore[attr-defined]
            "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
            "query_vectors": {
                "BACKEND": "kb.core.caching.RedisCache",
                "LOCATION": f"unix://{tmp_path / 's'}",
                "OPTIONS": {"socket_timeout": 0.1, "socket_connect_timeout": 0.1},
            },
        }
        embedder, began = Counting(), time.monotonic()
        for number in range(20):
            QuestionEmbedder(version, embedder).embed([f"question {number}"], "query")
        settled(embedder)
        assert time.monotonic() - began < 1.5
        assert query_vectors.size() is None
        assert len(embedder.asked) == 20


def test_a_model_that_fails_is_left_alone_after_three_questions(version: IndexVersion) -> None:
    class Broken:
        asked = 0

        def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
            self.asked += 1
            raise ConnectionError("no such host")

    broken, raised = Broken(), []
    for _ in range(6):
        with pytest.raises(Exception, match=r"no such host|not asked") as error:
            QuestionEmbedder(version, broken).embed(["bees"], "query")
        raised.append(error.type)
    assert raised == [ConnectionError] * 3 + [Unasked] * 3
    assert broken.asked == 3


def test_a_slow_model_is_given_up_at_its_deadline_and_its_vector_kept(
    version: IndexVersion, hanging: Hanging, settings: object
) -> None:
    settings.EMBED_DEADLINE_MS = settings.SEARCH_DEADLINE_MS = 50  # type: ignore[attr-defined]
    question = QuestionEmbedder(version, hanging)
    with pytest.raises(TooSlow):
        question.embed(["bees"], "query")
    assert question.milliseconds["embed"] < 5000
    hanging.gate.set()
    for _ in range(query_vectors.MOST_THREADS):
        settled(hanging)
    deadline = time.monotonic() + 10
    while query_vectors.shelf.get(key(version, "bees"), DIMENSIONS) is None:
        assert time.monotonic() < deadline
    later = QuestionEmbedder(version, hanging)
    later.embed(["bees"], "query")
    assert later.milliseconds.keys() == {"cache"}


def test_a_model_that_never_answered_is_given_time_to_load(
    version: IndexVersion, hanging: Hanging, settings: object
) -> None:
    settings.EMBED_DEADLINE_MS = 20  # type: ignore[attr-defined]
    timer = threading.Timer(0.2, hanging.gate.set)
    timer.start()
    assert QuestionEmbedder(version, hanging).embed(["bees"], "query").shape == (1, DIMENSIONS)
    timer.join()
    settled(hanging)
    hanging.gate.clear()
    with pytest.raises(EmbeddingError):
        QuestionEmbedder(version, hanging).embed(["wasps"], "query")


def test_no_question_waits_beyond_the_deadline_of_its_search(version: IndexVersion, hanging: Hanging) -> None:
    began = time.monotonic()
    with pools.within(0.1), pytest.raises(TooSlow):
        QuestionEmbedder(version, hanging).embed(["bees"], "query")
    assert time.monotonic() - began < 2


def test_the_size_of_a_cache_that_cannot_tell_is_not_known() -> None:
    assert query_vectors.size() is None


class Counted:
    """What of a cache on Redis its size is told from."""

    def __init__(self, keys: int) -> None:
        self._cache, self.keys = self, keys

    def make_key(self, pattern: str) -> str:
        return f":1:{pattern}"

    def get_client(self) -> "Counted":
        return self

    def scan_iter(self, match: str, count: int) -> Iterator[bytes]:
        assert match == ":1:query-vector:*"
        return (b"%d" % number for number in range(self.keys))

    def memory_usage(self, place: bytes) -> int:
        return 1696


def test_the_size_is_counted_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    size = query_vectors.counted(Counted(3))  # type: ignore[arg-type]
    assert (size.entries, size.total_bytes, size.more) == (3, 3 * 1696, False)
    assert query_vectors.counted(Counted(0)).total_bytes == 0  # type: ignore[arg-type]
    monkeypatch.setattr(query_vectors, "MOST_COUNTED", 2)
    assert (query_vectors.counted(Counted(3))).more  # type: ignore[arg-type]


def test_another_backend_is_another_identity_and_nothing_is_loaded_for_it(settings: object) -> None:
    model = EmbeddingModel(provider="local", name="all-MiniLM-L6-v2", weights_sha256="0" * 64, dimensions=384)
    found = set()
    for backend in ("torch-float32", "openvino-float32", "openvino-bfloat16"):
        settings.EMBED_BACKEND = backend  # type: ignore[attr-defined]
        found.add(providers.identity(model))  # weights of this hash there are none
    assert len(found) == 3
    assert all("0" * 64 in identity for identity in found)
