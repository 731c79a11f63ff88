"""A made-up corpus of any size: words by Zipf's law, vectors in clusters, put into the tables without a model.

`python -m tests.benchmarks.corpus N` fills the site of KB_HOME until it holds N chunks.
"""

import argparse
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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

TERMS = 80  # of a chunk
VOCABULARY = [f"t{number}" for number in range(50_000)]
CLUSTERS = 500
CHUNKS_PER_DOCUMENT = 100
BATCH = 5_000  # chunks at once


@dataclass(frozen=True)
class Batch:
    """Chunks: `terms` (n, TERMS), `vectors` (n, dimensions) of unit length."""

    terms: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def words(self) -> list[list[str]]:
        return [[VOCABULARY[term] for term in row] for row in self.terms.tolist()]


class Generator:
    """The same corpus for the same seed."""

    def __init__(self, dimensions: int, seed: int = 5) -> None:
        self.chance = np.random.default_rng(seed)
        self.centres = self.chance.standard_normal((CLUSTERS, dimensions)).astype(np.float32)

    def batch(self, size: int) -> Batch:
        terms = self.chance.zipf(1.2, (size, TERMS)) % len(VOCABULARY)
        return Batch(terms, self.vectors(size))

    def vectors(self, size: int) -> NDArray[np.float32]:
        near = self.centres[self.chance.integers(0, CLUSTERS, size)]
        vectors = near + 0.5 * self.chance.standard_normal(near.shape).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def question(self) -> list[str]:
        """Six terms, the ranks of which are spread over all magnitudes, as in what people ask.

        In 300,000 chunks they occur about 56,000 times together.
        """
        ranks = np.exp(self.chance.uniform(np.log(40), np.log(4000), 6)).astype(np.int64)
        return [VOCABULARY[rank] for rank in ranks.tolist()]


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
    lexical.append(version.chunking_id, collection.pk, zip(ids, words, strict=True))
    keys = [
        (chunk.pk, collection.pk, embedding_queue.content_hash(version.model, chunk.rendered_hash))
        for chunk in made
    ]
    embedding_table.write(version, keys, batch.vectors, Origin("benchmark", "none", "float32"))
    return ids


def chunks(version: IndexVersion, collection: Collection, words: list[list[str]]) -> list[Chunk]:
    made: list[Chunk] = []
    for first in range(0, len(words), CHUNKS_PER_DOCUMENT):
        texts = [" ".join(terms) for terms in words[first : first + CHUNKS_PER_DOCUMENT]]
        revision = revised(collection, "\n".join(texts))
        start = 0
        for ordinal, text in enumerate(texts):
            made.append(
                Chunk(
                    document_id=revision.document_id, revision=revision, chunking_id=version.chunking_id,
                    collection=collection, ordinal=ordinal, start=start, end=start + len(text), text=text,
                    text_hash=digest(text), occurrence=ordinal, rendered_hash=digest(text), tokens=TERMS, length=TERMS,
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
