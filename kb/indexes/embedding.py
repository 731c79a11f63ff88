"""Works on the embedding queue: leases jobs, copies the vectors that are there, makes the others, writes them."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from kb.core.beating import Pace, beat
from kb.core.holding import held
from kb.documents import stages
from kb.documents.models import Chunk
from kb.indexes import embedding_queue, embedding_table, providers, settling
from kb.indexes.embedding_queue import Input
from kb.indexes.embedding_table import Origin, Row
from kb.indexes.models import EmbeddingJob, IndexVersion
from retrieval.embedders import DescribedEmbedder, EmbedderAway

logger = logging.getLogger(__name__)

BATCH = 64
LEASE_SECONDS = 9.0  # of work
FIRST_LEASE = 16
FEWEST = 8
BATCH_SECONDS = 4.0
# Well before the lease ends, what was not begun is given back.
GIVE_BACK_SECONDS = 0.6 * EmbeddingJob.LEASE.total_seconds()
# So many documents fail one after the other, and nothing succeeds: it is the model that is away.
MOST_IN_A_ROW = 4
# The same for inputs, since all of them may be of one book.
MOST_INPUTS_IN_A_ROW = 16
LONGEST_REST = 3600.0  # seconds, whatever an endpoint asks for

Alike = list[Input]
"""Jobs with the same input: one vector does for all."""
Made = Callable[[], NDArray[np.float32]]
"""Gives the vectors of a batch, or raises what went wrong."""

_paces: dict[int, Pace] = {}
_rests: dict[int, float] = {}  # by model, until when it asked to be left alone


class ModelAway(Exception):
    """Nothing can be embedded at present, whatever the input; for so many `seconds`, where that was said."""

    def __init__(self, reason: object, seconds: float | None = None) -> None:
        super().__init__(str(reason))
        self.seconds = seconds or 0.0


@dataclass
class Work:
    """One lease at work: what is still open of it, and how it goes."""

    version: IndexVersion
    embedder: DescribedEmbedder
    origin: Origin
    open: dict[int, Input]
    failed_in_a_row: set[UUID] = field(default_factory=set)
    inputs_in_a_row: int = 0

    def close(self, inputs: Iterable[Input]) -> None:
        for given in inputs:
            self.open.pop(given.job_id, None)


def embed_for(version: IndexVersion, seconds: float, stopping: Callable[[], object] = bool) -> bool:
    """Works on the version's queue for about `seconds`, or until `stopping()` between two batches.

    Returns whether to go on at once: there may be more to do, and the model answers.
    """
    if time.monotonic() < _rests.get(version.model_id, 0.0):
        return False
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stopping():
        inputs = embedding_queue.lease(version, lease_size(_paces.get(version.pk)))
        if not inputs or not embed_batch(version, inputs, stopping=stopping):
            return False
    return True


def lease_size(pace: Pace | None) -> int:
    """How many jobs are some seconds of work: few before the first is measured, and for a slow model."""
    if pace is None or not pace.rate:
        return FIRST_LEASE
    return int(min(max(pace.rate * LEASE_SECONDS, FEWEST), embedding_queue.MOST))


def embed_batch(
    version: IndexVersion,
    inputs: Sequence[Input],
    embedder: DescribedEmbedder | None = None,
    stopping: Callable[[], object] = bool,
) -> bool:
    """Brings leased inputs into the version; one bad input does not hold up the others.

    What is not begun when the worker is to stop, or when the lease nears its end, is given back.
    Returns whether the model answers.
    """
    give_back = time.monotonic() + GIVE_BACK_SECONDS
    try:
        embedder = embedder or providers.embedder_for(version)
        made = origin(embedder)
    except Exception as error:
        logger.exception("%s cannot be loaded", version.model)
        settling.tried(embedding_queue.postpone(inputs, str(error)), str(error))
        return False
    work = Work(version, embedder, made, {given.job_id: given for given in inputs})
    try:
        copy_known(work)
        embed_in_turn(work, lambda: bool(stopping()) or time.monotonic() > give_back)
    except ModelAway as error:
        logger.warning("%s seems to be away (%s); its jobs wait for the next sweep", version.model, error)
        _rests[version.model_id] = time.monotonic() + min(error.seconds, LONGEST_REST)
        tell(version, f"{version.model} is away, and is waited for: {error}")
        return False
    finally:
        embedding_queue.release(work.open.values())
    tell(version, "")
    return True


def tell(version: IndexVersion, error: str) -> None:
    """Notes why a build does not get on, or that it does again."""
    if version.error != error:
        IndexVersion.objects.filter(pk=version.pk, state=IndexVersion.State.BUILDING).update(error=error)
        version.error = error


def embed_in_turn(work: Work, over: Callable[[], bool]) -> None:
    """Works on batches of what is open, until `over()` before one of them.

    The model is at the next batch while the one before is written, so that neither waits for the other.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed") as model:
        before: Callable[[], None] | None = None
        began = time.monotonic()
        for batch in batches(work.open.values(), batch_size(_paces.get(work.version.pk))):
            if over():
                break
            making = model.submit(embedded, work.embedder, work.version, [alike[0] for alike in batch])
            if before is not None:
                before()
                began = time.monotonic()
            before = partial(timed, work, batch, making.result, began)
        if before is not None:
            before()


def batch_size(pace: Pace | None) -> int:
    return BATCH if pace is None else int(min(max(pace.rate * BATCH_SECONDS, 1), BATCH))


def batches(inputs: Iterable[Input], size: int) -> Iterator[list[Alike]]:
    """Distinct inputs in batches of about equal length, across documents; the longest first."""
    alike: dict[bytes, Alike] = defaultdict(list)
    for given in inputs:
        alike[given.content_hash].append(given)
    groups = sorted(alike.values(), key=lambda group: (group[0].tokens, len(group[0].rendered)), reverse=True)
    for first in range(0, len(groups), size):
        yield groups[first : first + size]


def timed(work: Work, batch: list[Alike], made: Made, began: float) -> None:
    """Takes a batch and the time since it `began`. The first of a process loads the model, and does not count."""
    before = len(work.open)
    finish(work, batch, made)
    pace = _paces.get(work.version.pk)
    if pace is None:
        _paces[work.version.pk] = Pace()
    else:
        pace.add(before - len(work.open), time.monotonic() - began)
        beat("embed", pace.rate)


def finish(work: Work, batch: list[Alike], made: Made) -> None:
    """Takes what was made of a batch. One that failed is halved: a bad input costs a few tries, not one for each.

    Raises ModelAway where it is not the inputs that fail: what is not done then has cost no attempt.
    """
    try:
        vectors = made()
    except EmbedderAway as error:
        raise ModelAway(error, error.seconds) from error
    except Exception as error:
        logger.warning("%s inputs could not be embedded", len(batch), exc_info=True)
        if len(batch) == 1:
            give_up(work, batch[0], error)
            return
        for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
            firsts = [alike[0] for alike in half]
            finish(work, half, partial(embedded, work.embedder, work.version, firsts))
        return
    work.failed_in_a_row.clear()
    work.inputs_in_a_row = 0
    take(work, batch, vectors)


def embedded(
    embedder: DescribedEmbedder, version: IndexVersion, inputs: Sequence[Input]
) -> NDArray[np.float32]:
    vectors = embedder.embed([given.rendered for given in inputs], "document")
    if vectors.shape != (len(inputs), version.dimensions) or not np.isfinite(vectors).all():
        raise ValueError(
            f"{version.model} gave {vectors.shape} for {len(inputs)} texts, or numbers that are none"
        )
    return vectors


def give_up(work: Work, alike: Alike, error: Exception) -> None:
    """Lets the input wait for another attempt. Raises ModelAway when it is not the inputs that fail."""
    settling.tried(embedding_queue.postpone(alike, str(error)), str(error))
    work.close(alike)
    work.failed_in_a_row |= {given.document_id for given in alike}
    work.inputs_in_a_row += 1
    if len(work.failed_in_a_row) >= MOST_IN_A_ROW or work.inputs_in_a_row >= MOST_INPUTS_IN_A_ROW:
        raise ModelAway(error)


def take(work: Work, batch: list[Alike], vectors: NDArray[np.float32]) -> None:
    """Writes the vectors of a batch; inputs that share one have it copied."""
    inputs = [given for alike in batch for given in alike]
    places = [place for place, alike in enumerate(batch) for _ in alike]
    written = write(work.version, inputs, vectors[places], work.origin)
    spared = {
        given.job_id
        for alike in batch
        for place, given in enumerate(alike)
        if any(given.collection_id == earlier.collection_id for earlier in alike[:place])
    }
    work.close(inputs)
    report(work.version, [given for given in inputs if given.job_id in written], spared)


@transaction.atomic
def write(
    version: IndexVersion, inputs: Sequence[Input], vectors: NDArray[np.float32], made: Origin
) -> set[int]:
    """Vectors in, jobs out; returns the jobs that this did. Another worker's and those of chunks deleted
    meanwhile are left out; the other chunks cannot go before the commit."""
    alive = held(Chunk, [given.chunk_id for given in inputs])
    done = embedding_queue.remove([given.job_id for given in inputs])
    kept = [place for place, given in enumerate(inputs) if given.chunk_id in alive and given.job_id in done]
    if kept:
        embedding_table.write(version, rows_of(inputs[place] for place in kept), vectors[kept], made)
    return {inputs[place].job_id for place in kept}


def copy_known(work: Work) -> None:
    """Copies, inside the database, the vectors that were made before of the very same input."""
    inputs, others = list(work.open.values()), same_vectors(work.version)
    if not inputs:
        return
    known = embedding_table.known(work.version, others, rows_of(inputs), work.origin.number_format)
    inputs = [given for given in inputs if given.chunk_id in known]
    for first in range(0, len(inputs), BATCH):
        if copied := copied_now(work, others, inputs[first : first + BATCH]):
            work.close(copied)
            report(work.version, list(copied), {given.job_id for given, near in copied.items() if near})


@transaction.atomic
def copied_now(work: Work, others: Sequence[IndexVersion], inputs: Sequence[Input]) -> dict[Input, bool]:
    """As `write`, with the vectors that are there; returns whether each came from the chunk's own collection."""
    alive = held(Chunk, [given.chunk_id for given in inputs])
    mine = embedding_queue.locked([given.job_id for given in inputs])
    wanted = {given.chunk_id: given for given in inputs if given.chunk_id in alive and given.job_id in mine}
    if not wanted:
        return {}
    near = embedding_table.copy_known(work.version, others, rows_of(wanted.values()), work.origin)
    embedding_queue.remove([wanted[chunk].job_id for chunk in near])
    return {wanted[chunk]: own for chunk, own in near.items()}


def same_vectors(version: IndexVersion) -> list[IndexVersion]:
    """The other versions whose vectors of the same input are this version's, too."""
    return list(
        IndexVersion.objects.maintained()
        .filter(
            model=version.model_id,
            dimensions=version.dimensions,
            storage__in=embedding_table.alike(version.storage),
        )
        .exclude(pk=version.pk)
    )


def report(version: IndexVersion, done: Sequence[Input], spared: set[int]) -> None:
    """After the commit: the documents' stages go on, and those that are complete are ready.

    `spared` are the jobs that cost nothing because the same collection had the vector. What other
    collections spared is not told, since it would tell what they hold.
    """
    counts: dict[UUID, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for given in done:
        count, reused = counts[given.document_id]
        counts[given.document_id] = (count + 1, reused + (given.job_id in spared))
    settling.advance(version, counts)
    settling.settle(counts)
    pace = _paces.get(version.pk)
    beat("embed", pace.rate if pace and pace.rate else None)


def rows_of(inputs: Iterable[Input]) -> list[Row]:
    return [(given.chunk_id, given.collection_id, given.content_hash) for given in inputs]


def origin(embedder: DescribedEmbedder) -> Origin:
    card = embedder.describe()
    return Origin(stages.worker(), card.backend, card.number_format)
