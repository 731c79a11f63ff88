"""Deletes chunks that no version is made of any more, portion by portion, so that no transaction is long.

A portion holds whole documents. One that had lost some of its chunks would look as if it had been cut, and
a version that wants this chunking again would lack the rest of it.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from kb.documents.models import Chunk, Chunking, Document


def first(chunks: QuerySet[Chunk], most: int) -> list[UUID]:
    """Inside a transaction: the first documents, locked, with about `most` of the chunks.

    Documents before chunkings, as whoever cuts a document locks them.
    """
    some = set(chunks.order_by("document").values_list("document", flat=True)[:most])
    locked = Document.objects.filter(pk__in=some).order_by("pk").select_for_update(no_key=True)
    return list(locked.values_list("pk", flat=True))


def alone(chunkings: Iterable[int]) -> None:
    """Inside a transaction: until the commit nobody begins a version of these chunkings, or writes chunks of them."""
    list(Chunking.objects.filter(pk__in=list(chunkings)).order_by("pk").select_for_update().values("pk"))


def delete(chunks: QuerySet[Chunk], documents: list[UUID]) -> int:
    """Deletes those of the documents; a trigger takes jobs and postings along. Returns how many went."""
    portion = chunks.filter(document__in=documents)
    count = portion.count()
    portion.delete()
    return count
