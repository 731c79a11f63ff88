"""The vectors of questions: kept in the cache for a while, the last of them in the process, made under a deadline."""

import hashlib
import logging
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache
from numpy.typing import NDArray
from redis.exceptions import RedisError

from kb.core import pools
from kb.indexes import providers
from kb.indexes.models import IndexVersion
from kb.search import deadlines
from retrieval.embedders import Embedder, Kind, Vectors
from retrieval.embedders.breaker import Breaker, Guard, Policy

logger = logging.getLogger(__name__)

Vector: TypeAlias = NDArray[np.float32]

ALIAS = "query_vectors"  # of settings.CACHES; "default" where there is none of that name
PREFIX = "query-vector:"
NUMBER = np.dtype("<f4")
UNIT = 1e-3  # so far the length of a vector may be off 1
LEAVE_CACHE_ALONE = Policy(failures=1, pause=5.0)
LEAVE_MODEL_ALONE = Policy(failures=3, pause=15.0)
MOST_THREADS = 4  # that embed questions: so many may hang
MOST_RECENT = 1_000  # vectors that a process holds: some megabytes
MOST_COUNTED = 100_000  # keys that are looked at for the size


def normalised(text: str) -> str:
    """What is looked up and embedded: one form of each letter, single spaces. Case stays: a model may tell it apart."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def key(version: IndexVersion, text: str) -> str:
    """Version, what its vectors are made with in this process, and the text, all that a vector depends on."""
    made_with = hashlib.sha256(providers.identity(version.model).encode()).hexdigest()[:16]
    return f"{PREFIX}{version.pk}:{made_with}:{hashlib.sha256(text.encode()).hexdigest()}"


def sound(vector: Vector) -> bool:
    """Whether it is a unit vector; no number compares with NaN."""
    return abs(float(np.linalg.norm(vector)) - 1) < UNIT


class Recent:
    """The vectors that this process used last. No other can belong to such a key, so none of them becomes wrong."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, place: str) -> Vector | None:
        with self._lock:
            found = self._held.get(place)
            if found is not None:
                self._held.move_to_end(place)
            return found

    def put(self, place: str, vector: Vector) -> None:
        with self._lock:
            self._held[place] = vector
            self._held.move_to_end(place)
            if len(self._held) > MOST_RECENT:
                self._held.popitem(last=False)


class Shelf:
    """Vectors in Django's cache. One that is down, slow or full of rubbish is as good as an empty one.

    After a failure it is left alone for some seconds. How long an exchange may take at most is a matter of
    the cache's settings (socket_timeout): one that took longer than it should counts as a failure, too.
    """

    def __init__(self) -> None:
        self.recent = Recent()
        self.breaker = Breaker(LEAVE_CACHE_ALONE)
        self._made: tuple[object, BaseCache] | None = None

    @property
    def cache(self) -> BaseCache:
        """One for the process: `caches` would make one, with connections of its own, for each request."""
        if self._made is None or self._made[0] is not settings.CACHES:
            self._made = (
                settings.CACHES,
                caches.create_connection(ALIAS if ALIAS in settings.CACHES else "default"),
            )
        return self._made[1]

    def get(self, place: str, dimensions: int) -> Vector | None:
        """The vector, if there is one there and nothing else."""
        found = self.exchange(lambda: self.cache.get(place))
        if not isinstance(found, bytes) or len(found) != NUMBER.itemsize * dimensions:
            return None
        vector = np.frombuffer(found, NUMBER).astype(np.float32)
        return vector if sound(vector) else None

    def put(self, place: str, vector: Vector) -> None:
        content = vector.astype(NUMBER).tobytes()
        seconds = 3600 * settings.QUERY_VECTOR_HOURS
        self.exchange(lambda: self.cache.set(place, content, seconds))

    def exchange(self, ask: Callable[[], Any], *, quick: bool = True) -> Any:
        """What the cache says; None while it rests, and if it fails. What is `quick` fails if it takes long."""
        if not self.breaker.allows():
            return None
        began, said, failed = time.monotonic(), None, False
        try:
            said = ask()
        except (RedisError, OSError) as error:
            logger.warning("The cache of query vectors fails, and is left alone for some seconds: %s", error)
            failed = True
        except Exception as error:  # noqa: BLE001 (whatever unpickling rubbish may raise)
            logger.warning("The cache of query vectors holds rubbish: %s", error)
        if failed or (quick and time.monotonic() - began > deadlines.limits().cache):
            self.breaker.failed()
        else:
            self.breaker.succeeded()
        return said


shelf = Shelf()


@dataclass(frozen=True)
class Size:
    """So many vectors of so many bytes each, keys and the cache's own needs included; `more`: not all were counted."""

    entries: int
    vector_bytes: int
    more: bool

    @property
    def total_bytes(self) -> int:
        return self.entries * self.vector_bytes


def size() -> Size | None:
    """Of what is in the cache now; None where it cannot be told."""
    made = shelf.cache
    if not isinstance(made, RedisCache):
        return None
    found: Size | None = shelf.exchange(lambda: counted(made), quick=False)
    return found


def counted(cache: RedisCache) -> Size:
    client: Any = cache._cache.get_client()
    pattern = cache.make_key(f"{PREFIX}*")
    keys = list(islice(client.scan_iter(match=pattern, count=1000), MOST_COUNTED))
    one = client.memory_usage(keys[0]) if keys else 0
    return Size(len(keys), one or 0, len(keys) == MOST_COUNTED)


_guards: "WeakKeyDictionary[Embedder, Guard]" = WeakKeyDictionary()
_making = threading.Lock()


def guard_of(embedder: Embedder) -> Guard:
    """One for each embedder of the process: another backend begins with a closed circuit."""
    with _making:
        return _guards.setdefault(embedder, Guard("embed-question", LEAVE_MODEL_ALONE, MOST_THREADS))


@dataclass
class QuestionEmbedder:
    """The embedder of one search: a vector from the cache, or one that the model makes within its deadline.

    `milliseconds` has "cache" and, if the model was asked, "embed"; "embed" may have failed. `latest` is the
    vector that it gave last.
    """

    version: IndexVersion
    embedder: Embedder
    milliseconds: dict[str, float] = field(default_factory=dict)
    latest: Vector | None = None

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        """As the protocol has it, for questions; EmbeddingError also where nothing came in time."""
        if kind != "query":
            return self.embedder.embed(texts, kind)
        return np.stack([self.vector(normalised(text)) for text in texts])

    def told_apart(self, milliseconds: Mapping[str, float]) -> dict[str, float]:
        """The stages of a search, with "cache" and "embed" where it saw but one."""
        return {stage: took for stage, took in milliseconds.items() if stage != "embed"} | self.milliseconds

    def vector(self, text: str) -> Vector:
        with self.timed("cache"):
            place = key(self.version, text)
            self.latest = shelf.recent.get(place)
            if self.latest is not None:
                return self.latest
            self.latest = shelf.get(place, self.version.dimensions)
        if self.latest is None:
            with self.timed("embed"):
                self.latest = self.made(place, text)
        if sound(self.latest):
            shelf.recent.put(place, self.latest)
        return self.latest

    def made(self, place: str, text: str) -> Vector:
        guard, limits = guard_of(self.embedder), deadlines.limits()
        return guard.ask(
            lambda: self.embedder.embed([text], "query")[0],
            min(limits.embed if guard.answered else limits.load, pools.left()),
            lambda vector: shelf.put(place, vector),
        )

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            took = 1000 * (time.perf_counter() - began)
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + took
