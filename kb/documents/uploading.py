"""Files and directories on this machine, as a command puts them in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from kb.documents.models import Document
from retrieval.loading import SUFFIXES

FINISHED = (Document.State.READY, Document.State.FAILED)


@dataclass
class Tally:
    """What became of the files: refusals are `(path, code, message)`."""

    documents: dict[UUID, Path] = field(default_factory=dict)
    known: int = 0
    skipped: int = 0
    refused: list[tuple[Path, str, str]] = field(default_factory=list)


def files(paths: Iterable[Path], tally: Tally) -> Iterator[Path]:
    """Named files as they are; of directories, the readable types below them without hidden ones."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for below in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
            if hidden or not below.is_file():
                continue
            if below.suffix.lower() in SUFFIXES:
                yield below
            else:
                tally.skipped += 1


def unfinished(ids: Iterable[UUID]) -> int:
    """How many of the documents are still at work; deleted ones are not."""
    return Document.objects.filter(pk__in=list(ids)).exclude(state__in=FINISHED).count()
