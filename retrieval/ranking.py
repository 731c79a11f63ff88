"""One question to one ranking: both arms at the same time, then fused; an arm that fails leaves the other to answer."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from retrieval import bm25
from retrieval.analysis import Variants, variants
from retrieval.embedders import Embedder, EmbeddingError
from retrieval.fusion import Fusion, Strategy
from retrieval.protocols import NOTHING, Dense, Lexical, Postings, Ranked, Scope
from retrieval.variants import merged, terms_of

logger = logging.getLogger(__name__)


class Hit(NamedTuple):
    """A chunk with its fused score and those of the arms that brought it back, else None."""

    chunk_id: int
    score: float
    dense_score: float | None
    lexical_score: float | None


@dataclass(frozen=True, eq=False)
class Hits:
    """What a search found. Iterating gives a `Hit` for each of `fused`, best first.

    `dense` and `lexical` are all candidates of the arms. `missing` names the stages that failed and left
    the other arm to answer: embed, dense or lexical. `milliseconds` has a key for each stage that ran:
    embed, dense, lexical, fuse. `fusion`, `terms` and `postings` (of whose entries `terms` are names) are
    what an explanation is made from.
    """

    fused: Ranked
    dense: Ranked
    lexical: Ranked
    missing: tuple[str, ...]
    milliseconds: Mapping[str, float]
    fusion: Fusion
    terms: tuple[str, ...] = ()
    postings: Postings | None = None

    @property
    def degraded(self) -> bool:
        """Whether one arm answers alone."""
        return bool(self.missing)

    def __len__(self) -> int:
        return len(self.fused)

    def __iter__(self) -> Iterator[Hit]:
        dense, lexical = _by_id(self.dense), _by_id(self.lexical)
        for chunk, score in _by_id(self.fused).items():
            yield Hit(chunk, score, dense.get(chunk), lexical.get(chunk))


@dataclass
class _Arm:
    """What one arm found, and how long its stages took. Each is written by one thread."""

    ranked: Ranked = NOTHING
    failed: str = ""
    error: Exception | None = None
    terms: Sequence[str] = ()
    postings: Postings | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def done(self, stage: str) -> None:
        now = time.perf_counter()
        self.milliseconds[stage], self._since = (now - self._since) * 1000, now

    def gave_up(self, stage: str, error: Exception) -> "_Arm":
        """Whatever a provider or a store raised: the other arm can still answer."""
        expected = isinstance(error, EmbeddingError | TimeoutError)  # which say all there is to say
        logger.error(
            "A search does without its stage %r: %r", stage, error, exc_info=None if expected else error
        )
        self.failed, self.error, self.ranked = stage, error, NOTHING
        return self


@dataclass(frozen=True)
class Retriever:
    """Hybrid search. `candidates` come from each arm; `weight` and `strategy` say how they are fused.

    `executor` runs the lexical arm beside the calling thread: one of its threads for each search at a
    time. `patience` says how many seconds more that arm may be waited for; None: as long as it takes.
    """

    dense: Dense
    lexical: Lexical
    embedder: Embedder
    weight: float
    candidates: int
    executor: Executor
    strategy: Strategy = "convex"
    patience: Callable[[], float | None] = lambda: None

    @property
    def fusion(self) -> Fusion:
        return Fusion(self.weight, self.strategy)

    def search(self, query: str, scope: Scope, k: int | None = None, languages: Iterable[str] = ()) -> Hits:
        """The `k` best chunks in `scope`, or all that the arms bring back.

        `languages` (ISO 639-1) are those that the texts in the scope were analysed in, English where none is
        named. What fails leaves the other arm to answer, and is named in `missing`; if that has nothing to
        answer with, since its store failed as well or the question has no words, a store's error is raised.
        """
        depth, words = max(k or 0, self.candidates), variants(query, languages)
        by_words = self.executor.submit(self._by_words, words, scope, depth)
        dense = self._by_meaning(query, scope, depth)
        lexical = self._awaited(by_words)
        if lexical.error is not None and dense.failed:
            raise lexical.error
        if dense.failed == "dense" and dense.error is not None and not words:
            raise dense.error
        fusing = _Arm()
        fused = self.fusion.fuse(dense.ranked, lexical.ranked)
        fusing.done("fuse")
        return Hits(
            fused if k is None else fused.top(max(k, 0)),
            dense.ranked,
            lexical.ranked,
            tuple(filter(None, (dense.failed, lexical.failed))),
            dense.milliseconds | lexical.milliseconds | fusing.milliseconds,
            self.fusion,
            tuple(lexical.terms),
            lexical.postings,
        )

    def _by_meaning(self, query: str, scope: Scope, k: int) -> _Arm:
        arm = _Arm()
        try:
            vector = self.embedder.embed([query], "query")[0]
        except Exception as error:  # noqa: BLE001
            return arm.gave_up("embed", error)
        arm.done("embed")
        try:
            arm.ranked = self.dense.nearest(vector, scope, k)
        except Exception as error:  # noqa: BLE001
            arm.gave_up("dense", error)
        arm.done("dense")
        return arm

    def _awaited(self, by_words: Future[_Arm]) -> _Arm:
        try:
            return by_words.result(self.patience())
        except Exception as error:  # noqa: BLE001
            by_words.cancel()  # of use if it has not begun
            return _Arm().gave_up("lexical", error)

    def _by_words(self, words: Sequence[Variants], scope: Scope, k: int) -> _Arm:
        arm = _Arm()
        if not words:  # only stop words and punctuation
            return arm
        arm.postings, arm.terms = merged(self.lexical.postings(terms_of(words), scope), words)
        arm.ranked = bm25.rank(arm.postings, arm.terms, k, scope.chunks)
        arm.done("lexical")
        return arm


def unranked(chunks: Sequence[int]) -> Hits:
    """Hits of a question without words, in the order given; the scores say nothing but that order."""
    scores = 1.0 / np.arange(1.0, len(chunks) + 1)
    return Hits(Ranked(np.array(chunks, np.int64), scores), NOTHING, NOTHING, (), {}, Fusion())


def _by_id(ranked: Ranked) -> dict[int, float]:
    return dict(zip(ranked.ids.tolist(), ranked.scores.tolist(), strict=True))
