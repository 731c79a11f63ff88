"""A site filled with the made-up corpus, and the person who reads it."""

from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from kb.core.models import Collection, Membership, User
from kb.indexes import lexical, merging
from kb.indexes.models import IndexVersion
from retrieval.protocols import Scope
from tests.benchmarks import corpus

QUESTIONS = 60
DEPTH = 100  # candidates of each arm


class Made:
    """The corpus in the site, and the same in arrays and lists for the others.

    `member` is who may read it, as most people are: neither its owner nor an administrator.
    """

    def __init__(self) -> None:
        self.version = IndexVersion.objects.maintained().select_related("model").get()
        self.admin = User.objects.get(username="admin")
        self.member = User.objects.create_user("member", password="unused-password")
        self.collection = Collection.objects.create(
            name="Made up", slug="made-up", owner=self.admin, visibility=Collection.Visibility.MEMBERS
        )
        Membership.objects.create(collection=self.collection, user=self.member)
        self.generator = corpus.Generator(self.version.dimensions)
        self.ids: list[int] = []
        self.batches: list[corpus.Batch] = []

    def grow(self, size: int) -> None:
        """Puts batches in until there are `size` chunks; what is done in the background is done at once."""
        with corpus.without_graph(self.version):
            while len(self.ids) < size:
                batch = self.generator.batch(min(corpus.BATCH, size - len(self.ids)))
                self.ids += corpus.put_in(self.version, self.collection, batch)
                self.batches.append(batch)
        settle()

    @property
    def scope(self) -> Scope:
        return Scope((self.collection.pk,))

    def questions(self) -> list[list[str]]:
        return self.generator.questions(QUESTIONS)

    def vectors(self) -> dict[str, NDArray[np.float32]]:
        """Of each question, as its words in a row."""
        asked = [" ".join(terms) for terms in self.questions()]
        return dict(zip(asked, self.generator.question_vectors(len(asked)), strict=True))

    def ranks(self) -> list[list[int]]:
        """The terms of each chunk by their ranks in the vocabulary."""
        return [row for batch in self.batches for row in batch.ranks()]

    def words(self) -> list[list[str]]:
        return [row for batch in self.batches for row in batch.words()]

    def bytes_per_chunk(self) -> dict[str, int]:
        sizes = {
            "blocks of postings": lexical.bytes_per_chunk(self.version.chunking_id),
            "postings with table and index": relation("indexes_postingblock") / len(self.ids),
            "vectors with their graph": relation(self.version.table) / len(self.ids),
        }
        return {what: round(size) for what, size in sizes.items()}

    def distinct_terms(self) -> float:
        """Of a chunk, on average."""
        return float(np.mean([len(set(row)) for row in self.batches[0].ranks()]))


def relation(name: str) -> Any:
    """Bytes of the table with its indexes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size(%s)", [name])
        return cursor.fetchone()[0]


def settle() -> None:
    """What workers and the database would do by and by."""
    merging.merge_all()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
