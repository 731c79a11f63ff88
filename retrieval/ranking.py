"""One question to one ranking: both arms at the same time, then fused."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from retrieval import bm25
from retrieval.analysis import Variants, variants
from retrieval.embedders import Embedder
from retrieval.fusion import Fusion, Strategy
from retrieval.protocols import NOTHING, Dense, Lexical, Postings, Ranked, Scope
from retrieval.variants import merged, terms_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hit:
    """A chunk with its fused score and those of the arms that brought it back, else None."""

    chunk_id: int
    score: float
    dense_score: float | None
    lexical_score: float | None


@dataclass(frozen=True, eq=False)
class Hits:
    """What a search found. Iterating gives a `Hit` for each of `fused`, best first.

    `dense` and `lexical` are all candidates of the arms. `degraded` says that the question could not
    be embedded and its words alone were searched. `milliseconds` has a key for each stage that ran:
    embed, dense, lexical, fuse. `fusion`, `terms` and
    `postings` (of whose entries `terms` are names) are what an explanation is made from.
    """

    fused: Ranked
    dense: Ranked
    lexical: Ranked
    degraded: bool
    milliseconds: Mapping[str, float]
    fusion: Fusion
    terms: tuple[str, ...] = ()
    postings: Postings | None = None

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
    failed: bool = False
    terms: Sequence[str] = ()
    postings: Postings | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def done(self, stage: str) -> None:
        now = time.perf_counter()
        self.milliseconds[stage], self._since = (now - self._since) * 1000, now


@dataclass(frozen=True)
class Retriever:
    """Hybrid search. `candidates` come from each arm; `weight` and `strategy` say how they are fused.

    `executor` runs both arms of every search, so it needs two threads for each search at a time.
    """

    dense: Dense
    lexical: Lexical
    embedder: Embedder
    weight: float
    candidates: int
    executor: Executor
    strategy: Strategy = "convex"

    @property
    def fusion(self) -> Fusion:
        return Fusion(self.weight, self.strategy)

    def search(self, query: str, scope: Scope, k: int | None = None, languages: Iterable[str] = ()) -> Hits:
        """The `k` best chunks in `scope`, or all that the arms bring back.

        `languages` (ISO 639-1) are those that the texts in the scope were analysed in, English where none is
        named. A failing store raises; a failing embedder degrades.
        """
        depth, words = max(k or 0, self.candidates), variants(query, languages)
        by_meaning = self.executor.submit(self._by_meaning, query, scope, depth)
        by_words = self.executor.submit(self._by_words, words, scope, depth)
        try:
            dense, lexical = by_meaning.result(), by_words.result()
        finally:
            by_words.cancel()  # of use only if the other arm failed before this one began
        fusing = _Arm()
        fused = self.fusion.fuse(dense.ranked, lexical.ranked)
        fusing.done("fuse")
        return Hits(
            fused if k is None else fused.top(max(k, 0)),
            dense.ranked,
            lexical.ranked,
            dense.failed,
            dense.milliseconds | lexical.milliseconds | fusing.milliseconds,
            self.fusion,
            tuple(lexical.terms),
            lexical.postings,
        )

    def _by_meaning(self, query: str, scope: Scope, k: int) -> _Arm:
        arm = _Arm()
        try:
            vector = self.embedder.embed([query], "query")[0]
        except Exception:  # whatever a provider raises: the words can still be searched
            logger.exception("The question could not be embedded; its words alone are searched")
            arm.failed = True
            return arm
        arm.done("embed")
        arm.ranked = self.dense.nearest(vector, scope, k)
        arm.done("dense")
        return arm

    def _by_words(self, words: Sequence[Variants], scope: Scope, k: int) -> _Arm:
        arm = _Arm()
        if not words:  # only stop words and punctuation
            return arm
        arm.postings, arm.terms = merged(self.lexical.postings(terms_of(words), scope), words)
        arm.ranked = bm25.rank(arm.postings, arm.terms, k, scope.chunks)
        arm.done("lexical")
        return arm


def _by_id(ranked: Ranked) -> dict[int, float]:
    return dict(zip(ranked.ids.tolist(), ranked.scores.tolist(), strict=True))
