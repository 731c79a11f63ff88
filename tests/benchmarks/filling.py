"""Fills a site with documents of made-up words and vectors that cost no model: `python -m tests.benchmarks.filling N`.

All but the vectors goes the ordinary way: revisions, chunks, postings, queue. KB_HOME says which site.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import django
import numpy as np

django.setup()

from django.core.files.base import ContentFile  # noqa: E402  # after the setup, as all that uses models
from django.db import transaction  # noqa: E402

from kb.core.models import Collection, User  # noqa: E402
from kb.documents import parsing  # noqa: E402
from kb.documents.actions import add_document  # noqa: E402
from kb.documents.models import Chunk  # noqa: E402
from kb.indexes import embedding, embedding_queue  # noqa: E402
from kb.indexes.models import IndexVersion  # noqa: E402
from retrieval.embedders import Kind, ModelCard, Vectors, unit  # noqa: E402
from retrieval.embedders.hashing import HashingEmbedder  # noqa: E402
from retrieval.loading import load  # noqa: E402
from retrieval.spans import LoadedText  # noqa: E402

VOCABULARY = 50_000
WORDS = 16_000  # of a document: about a hundred chunks


class Noise:
    """Vectors at random."""

    def __init__(self, dimensions: int, random: np.random.Generator) -> None:
        self.dimensions, self.random = dimensions, random

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        return unit(self.random.standard_normal((len(texts), self.dimensions)))

    def describe(self) -> ModelCard:
        return HashingEmbedder(self.dimensions).describe()


def loaded(path: Path, filename: str) -> LoadedText:
    return load(path.read_bytes(), filename)


def text(random: np.random.Generator) -> str:
    """Words by Zipf's law, in sentences and paragraphs."""
    words = [f"w{rank}" for rank in random.zipf(1.3, WORDS) % VOCABULARY]
    sentences = [" ".join(words[first : first + 16]) + "." for first in range(0, WORDS, 16)]
    return "\n\n".join(" ".join(sentences[first : first + 6]) for first in range(0, len(sentences), 6))


def fill(chunks: int, seed: int = 7) -> int:
    """Puts documents in until the site holds so many chunks; returns how many it holds."""
    random = np.random.default_rng(seed)
    admin = User.objects.get(username="admin")
    collection, _ = Collection.objects.get_or_create(
        slug="filling", defaults={"name": "Filling", "owner": admin}
    )
    version = IndexVersion.objects.maintained().select_related("model").get()
    noise = Noise(version.dimensions, random)
    while (stored := Chunk.objects.count()) < chunks:
        # At once: the site's own workers see a document when nothing is left to do for it.
        with transaction.atomic():
            file = ContentFile(text(random).encode(), f"filling-{stored}.txt")
            parsing.parse(add_document(admin, collection, file).document.pk, loaded)
            while inputs := embedding_queue.lease(version):
                embedding.embed_batch(version, inputs, noise)
    return stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chunks", type=int)
    fill(parser.parse_args().chunks)


if __name__ == "__main__":
    main()
