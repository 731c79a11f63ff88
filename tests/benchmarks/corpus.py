"""A made-up corpus of any size: words by Zipf's law, vectors in clusters, put into the tables without a model.

`python -m tests.benchmarks.corpus N` fills the site of KB_HOME until it holds N chunks.
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import django
import numpy as np
from numpy.typing import NDArray

django.setup()

from django.db import connection, transaction  # noqa: E402  # after the setup, as all that uses models
from django.utils import timezone  # noqa: E402

from kb.core.models import Collection, User  # noqa: E402
from kb.documents.models import Chunk, Document, DocumentRevision  # noqa: E402
from kb.indexes import embedding_queue, embedding_table, lexical  # noqa: E402
from kb.indexes.embedding_table import Origin  # noqa: E402
from kb.indexes.models import IndexVersion  # noqa: E402
from retrieval import bm25  # noqa: E402
from retrieval.analysis import analyse, analyser_hash  # noqa: E402

SEED = 5
TERMS = 50_000
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprtvz" for vowel in "aiou"]
SHORTEST, LONGEST = 100, 180  # words of a chunk, of which some 80 are distinct
CLUSTERS = 500
CHUNKS_PER_DOCUMENT = 100
BATCH = 5_000  # chunks at once


@cache
def vocabulary() -> list[str]:
    """Words of three syllables by rank, in an order at random: letters alone, which analysis leaves as they are."""
    base, chance = len(SYLLABLES), np.random.default_rng(SEED)
    drawn = chance.permutation(base**3)[: TERMS + TERMS // 10].tolist()
    spelled = ("".join(SYLLABLES[number // base**at % base] for at in range(3)) for number in drawn)
    return [word for word in spelled if analyse(word) == [word]][:TERMS]


@dataclass(frozen=True)
class Batch:
    """Chunks: of `terms` (n, LONGEST), which are ranks in the vocabulary, each has the first `lengths` (n,), and
    `vectors` (n, dimensions) of unit length."""

    terms: NDArray[np.int32]
    lengths: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def ranks(self) -> list[list[int]]:
        return [row[:length] for row, length in zip(self.terms.tolist(), self.lengths.tolist(), strict=True)]

    def words(self) -> list[list[str]]:
        named = vocabulary()
        return [[named[rank] for rank in row] for row in self.ranks()]

    def blocks(self, ids: Sequence[int]) -> list[tuple[str, bytes]]:
        """What `bm25.invert` makes of them, in another order and ten times as fast."""
        chunks, size, named = np.array(ids, np.int64), len(ids), vocabulary()
        there = np.arange(LONGEST) < self.lengths[:, None]
        rows, _ = np.nonzero(there)
        keys, frequencies = np.unique(self.terms[there].astype(np.int64) * size + rows, return_counts=True)
        terms, rows = np.divmod(keys, size)
        packed = bm25.pack(chunks[rows], frequencies, self.lengths[rows])
        starts = np.flatnonzero(np.diff(terms, prepend=-1))
        ends = np.append(starts[1:], len(terms))
        every = (bm25.EVERY, bm25.pack(chunks, np.zeros(size, np.int64), self.lengths))
        return [every] + [
            (named[term], packed[first * bm25.BYTES_PER_POSTING : end * bm25.BYTES_PER_POSTING])
            for term, first, end in zip(terms[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)
        ]


class Generator:
    """The same corpus for the same seed, and the same questions whatever was made before them."""

    def __init__(self, dimensions: int, seed: int = SEED) -> None:
        self.seed, self.chance = seed, np.random.default_rng(seed)
        self.centres = self.chance.standard_normal((CLUSTERS, dimensions)).astype(np.float32)

    def batch(self, size: int) -> Batch:
        terms = (self.chance.zipf(1.2, (size, LONGEST)) % TERMS).astype(np.int32)
        lengths = self.chance.integers(SHORTEST, LONGEST, size, endpoint=True)
        return Batch(terms, lengths, self.vectors(size, self.chance))

    def vectors(self, size: int, chance: np.random.Generator) -> NDArray[np.float32]:
        near = self.centres[chance.integers(0, CLUSTERS, size)]
        vectors = near + 0.5 * chance.standard_normal(near.shape).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def questions(self, count: int) -> list[list[str]]:
        """Six terms each, the ranks of which are spread over all magnitudes, as in what people ask.

        In 300,000 chunks they occur about 56,000 times together.
        """
        chance, named = np.random.default_rng(self.seed + 1), vocabulary()
        ranks = np.exp(chance.uniform(np.log(70), np.log(4000), (count, 6))).astype(np.int64)
        return [[named[rank] for rank in row] for row in ranks.tolist()]

    def question_vectors(self, count: int) -> NDArray[np.float32]:
        return self.vectors(count, np.random.default_rng(self.seed + 2))


@contextmanager
def without_graph(version: IndexVersion) -> Iterator[None]:
    """Inside the block vectors are only stored; the HNSW graph is built at its end, which is ten times as fast."""
    name = f"{version.table}_hnsw"
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name])
        (definition,) = cursor.fetchone()
        cursor.execute(f"DROP INDEX {name}")
        yield
        cursor.execute("SET maintenance_work_mem = '2GB'")
        cursor.execute(definition)
        cursor.execute("RESET maintenance_work_mem")


def empty(version: IndexVersion) -> None:
    """Takes out all documents with all that was made of them."""
    tables = f"documents_document, indexes_segment, indexes_postingblock, indexes_tombstone, {version.table}"
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables} CASCADE")


@transaction.atomic
def put_in(version: IndexVersion, collection: Collection, batch: Batch) -> list[int]:
    """Documents, chunks, postings and vectors, as documents that are ready leave them; returns the chunks' ids."""
    words = batch.words()
    made = chunks(version, collection, words)
    ids = [chunk.pk for chunk in made]
    lexical.write(version.chunking_id, collection.pk, batch.blocks(ids), analyser_hash())
    keys = [
        (chunk.pk, collection.pk, embedding_queue.content_hash(version.model, chunk.rendered_hash))
        for chunk in made
    ]
    embedding_table.write(version, keys, batch.vectors, Origin("benchmark", "none", "float32"))
    return ids


def chunks(version: IndexVersion, collection: Collection, words: list[list[str]]) -> list[Chunk]:
    made: list[Chunk] = []
    for first in range(0, len(words), CHUNKS_PER_DOCUMENT):
        part = words[first : first + CHUNKS_PER_DOCUMENT]
        texts = [" ".join(terms) for terms in part]
        revision = revised(collection, "\n".join(texts))
        start = 0
        for ordinal, (text, terms) in enumerate(zip(texts, part, strict=True)):
            made.append(
                Chunk(
                    document_id=revision.document_id, revision=revision, chunking_id=version.chunking_id,
                    collection=collection, ordinal=ordinal, start=start, end=start + len(text), text=text,
                    text_hash=digest(text), occurrence=ordinal, rendered_hash=digest(text),
                    tokens=len(terms), length=len(terms),
                )
            )  # fmt: skip
            start += len(text) + 1
    return Chunk.objects.bulk_create(made, batch_size=1000)


def revised(collection: Collection, text: str) -> DocumentRevision:
    document = Document.objects.create(
        collection=collection, title="Made up", filename="made-up.txt", state=Document.State.READY
    )
    revision = DocumentRevision.objects.create(
        document=document, number=1, sha256=hashlib.sha256(document.pk.bytes).hexdigest(), file="made-up",
        filename="made-up.txt", size=len(text), text=text, parsed_at=timezone.now(),
    )  # fmt: skip
    Document.objects.filter(pk=document.pk).update(current=revision)
    return revision


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def fill(total: int) -> None:
    """Puts batches into a collection of their own until the site holds `total` chunks."""
    admin = User.objects.get(username="admin")
    collection, _ = Collection.objects.get_or_create(
        slug="made-up", defaults={"name": "Made up", "owner": admin}
    )
    version = IndexVersion.objects.maintained().select_related("model").get()
    generator = Generator(version.dimensions)
    with without_graph(version):
        while (missing := total - Chunk.objects.count()) > 0:
            put_in(version, collection, generator.batch(min(missing, BATCH)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chunks", type=int)
    fill(parser.parse_args().chunks)


if __name__ == "__main__":
    main()
