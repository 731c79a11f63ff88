"""Puts the best hits into a new order by a model that reads question and passage together.

Nogueira & Cho (2019), "Passage Re-ranking with BERT", arXiv:1901.04085.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.threads import DaemonThreads

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

logger = logging.getLogger(__name__)

BATCH_SIZE = 8
AGAIN_AFTER = 60.0  # seconds; so soon a model that could not be loaded is tried again


class NotReranked(Exception):
    """Why the passages keep the order that they had, as a sentence for people."""


class Reranker(Protocol):
    """Judges passages against a question."""

    def scores(self, question: str, texts: Sequence[str], milliseconds: float) -> NDArray[np.float64]:
        """(n,), the higher the better. Raises NotReranked where that takes longer, or fails."""
        ...


class CrossEncoderReranker:
    """A sentence-transformers CrossEncoder on the processor: a directory, or a name on the Hub.

    It is loaded when first asked, and used, in a thread of its own: who asks waits no longer than the
    budget, whatever a batch takes. The budget is looked at before each batch of `batch_size` pairs as
    well; a batch is not begun that would end too late, going by the slowest one so far.
    """

    def __init__(self, model: str, *, batch_size: int = BATCH_SIZE) -> None:
        if batch_size < 1:
            raise ValueError(f"A batch holds at least one pair, not {batch_size}")
        self.model, self.batch_size = model, batch_size
        self._starting, self._using = threading.Lock(), DaemonThreads(1, "rerank")
        self._loaded = threading.Event()
        self._encoder: CrossEncoder | None = None
        self._tried: float | None = None

    def scores(self, question: str, texts: Sequence[str], milliseconds: float) -> NDArray[np.float64]:
        deadline = time.monotonic() + milliseconds / 1000
        encoder = self.ready(milliseconds / 1000)
        work = partial(self._scored, encoder, question, texts, deadline, milliseconds)
        asked = self._using.submit(work)
        wait([asked], max(0.0, deadline - time.monotonic()))
        if asked.cancel():
            raise NotReranked(f"The reranker was busy for longer than {milliseconds:,.0f} ms.")
        if not asked.done():
            raise NotReranked(f"Reranking took longer than {milliseconds:,.0f} ms.")
        found = asked.result()
        if found.shape != (len(texts),) or not np.isfinite(found).all():
            logger.error("The reranker %s gives no single number for a pair", self.model)
            raise NotReranked("The reranker's model gives no single score for a passage.")
        return found

    def ready(self, seconds: float) -> "CrossEncoder":
        """The model, loaded by then; raises NotReranked if it is not."""
        self._start()
        if not self._loaded.wait(seconds):
            raise NotReranked("The reranker's model is still being loaded.")
        if self._encoder is None:
            raise NotReranked("The reranker's model could not be loaded, and the log says why.")
        return self._encoder

    def _start(self) -> None:
        with self._starting:
            failed = self._loaded.is_set() and self._encoder is None
            if self._tried is None or (failed and time.monotonic() - self._tried > AGAIN_AFTER):
                self._tried = time.monotonic()
                self._loaded.clear()
                threading.Thread(target=self._load, name="load-reranker", daemon=True).start()

    def _load(self) -> None:
        try:
            # Here and not above: it takes seconds to import, and most sites rerank nothing.
            from sentence_transformers import CrossEncoder  # noqa: PLC0415

            self._encoder = CrossEncoder(self.model, device="cpu")
        except Exception:
            logger.exception("The reranker %s could not be loaded", self.model)
        finally:
            self._loaded.set()

    def _scored(
        self,
        encoder: "CrossEncoder",
        question: str,
        texts: Sequence[str],
        deadline: float,
        milliseconds: float,
    ) -> NDArray[np.float64]:
        parts: list[NDArray[np.float64]] = []
        slowest = 0.0
        for first in range(0, len(texts), self.batch_size):
            began = time.monotonic()
            if began + slowest > deadline:
                raise NotReranked(f"Reranking would have taken longer than {milliseconds:,.0f} ms.")
            pairs = [(question, text) for text in texts[first : first + self.batch_size]]
            try:
                made = encoder.predict(pairs, batch_size=self.batch_size, show_progress_bar=False)
            except Exception as error:  # said here: nobody may be waiting any more
                logger.exception("The reranker %s failed", self.model)
                raise NotReranked("The reranker failed, and the log says how.") from error
            parts.append(np.asarray(made, np.float64))
            slowest = max(slowest, time.monotonic() - began)
        return np.concatenate(parts) if parts else np.empty(0)
