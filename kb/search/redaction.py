"""Takes out of an answer what rests on sources that its reader may not see, or that are gone."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

from django.db import transaction

from kb.documents.models import Document
from kb.search.models import Answer, Citation
from retrieval.answering.citations import Marker, MarkerReader

REMOVED = "[removed]"


@dataclass(frozen=True)
class Claim:
    """A stretch of an answer up to the markers that support it; `markers` is empty for a rest without."""

    text: str
    markers: tuple[int, ...]


def claims(text: str) -> Iterator[Claim]:
    """The answer in order, cut behind each group of markers; joined, the texts are the answer."""
    reader = MarkerReader()
    words = ""
    numbers: tuple[int, ...] = ()
    for piece in [*reader.feed(text), *reader.flush()]:
        if isinstance(piece, Marker):
            words += piece.blanks + piece.written
            numbers += piece.numbers
            continue
        if numbers and piece.strip():
            yield Claim(words, numbers)
            words, numbers = "", ()
        words += piece
    if words:
        yield Claim(words, numbers)


def redacted(text: str, allowed: Container[int]) -> str:
    """`text` with every claim removed that does not rest on allowed markers alone.

    Words without a marker may rest on any source, so once one is forbidden they go too.
    """
    kept = []
    for claim in claims(text):
        if claim.markers and all(marker in allowed for marker in claim.markers):
            kept.append(claim.text)
        elif claim.text.strip():
            kept.append(f" {REMOVED}")
    return re.sub(rf"(\s*{re.escape(REMOVED)})+", f" {REMOVED}", "".join(kept)).strip()


@transaction.atomic
def erase(document: Document) -> None:
    """Before a document is deleted: erases its quotes, and the words built on them, from stored answers."""
    for answer in Answer.objects.filter(given__contains=[document.pk]).select_for_update():
        gone = set(answer.citations.filter(document=document).values_list("marker", flat=True))
        others = set(answer.citations.exclude(quote="").values_list("marker", flat=True)) - gone
        answer.text = redacted(answer.text, others)
        answer.given.remove(document.pk)
        answer.save(update_fields=["text", "given"])
    Citation.objects.filter(document=document).update(quote="")
