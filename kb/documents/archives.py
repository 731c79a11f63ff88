"""Makes the files of an archive documents of their own, and writes down what it held."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import transaction

from kb.core.models import User
from kb.core.problems import Problem
from kb.documents import adding, originals, queueing, stages
from kb.documents.adding import Given
from kb.documents.models import Document, DocumentRevision
from retrieval.loading.archives import Bounds, Entry, Unfit, unpack
from retrieval.loading.errors import LoadError
from retrieval.spans import LoadedText

# What is taken in together: so many files, or so many bytes, since all of it is held in memory.
BATCH = 50
BATCH_BYTES = 32 * 1024 * 1024


# After so long the archive is put back, to be gone on with later: what was taken in is recognised then.
SECONDS_AT_ONCE = 60.0


class Unfinished(Exception):
    """Some of the archive's files were taken in, and more are to come."""


class Known(NamedTuple):
    """A document that holds some content."""

    document_id: UUID
    filename: str


@dataclass
class Contents:
    """What the archive turned out to hold: lines for its text, and the document of each content."""

    held: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    unfit: list[LoadError] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.held) + len(self.refused)

    def text(self, name: str) -> str:
        sections = [f"{name} holds {self.count} files."]
        for title, lines in (("Taken in:", self.held), ("Not read:", self.refused)):
            if lines:
                sections.append("\n".join([title, *(f"- {line}" for line in lines)]))
        return "\n\n".join(sections)


def take_apart(document: Document, revision: DocumentRevision) -> LoadedText:
    """Puts the archive's files in and returns its own text. Done twice, it changes nothing more.

    Raises LoadError for an archive of which nothing can be unpacked, or which is too large; ClaimLost when
    it was cancelled or deleted meanwhile; Unfinished when it has taken long and something new was taken in.
    """
    until = time.monotonic() + SECONDS_AT_ONCE
    contents = Contents()
    # What is larger would be refused anyhow.
    bounds = Bounds(entry_bytes=settings.MAX_UPLOAD_BYTES)
    for batch in batches(readable(unpack(Path(revision.file.path), bounds), contents)):
        any_new = take_in(document, batch, contents)
        stages.advance(document.pk, "parse", contents.count)
        batch.clear()  # before the next one is unpacked
        if any_new and time.monotonic() > until:
            raise Unfinished
    if contents.unfit and not contents.held:
        raise contents.unfit[0]
    forget_entries(document, [known.document_id for known in contents.known.values()])
    return LoadedText(contents.text(revision.filename), title="", media_type="application/zip")


def readable(entries: Iterable[Entry | Unfit], contents: Contents) -> Iterator[Given]:
    """The files that can be taken; of the others the reason is noted."""
    for entry in entries:
        name = entry.name[-adding.NAME_LENGTH :]
        if name in contents.names:
            contents.refused.append(f"{name}: The names of two files are the same in their last part.")
            continue
        contents.names.add(name)
        if isinstance(entry, Unfit):
            contents.unfit.append(entry.reason)
            contents.refused.append(f"{name}: {entry.reason.message}")
            continue
        try:
            adding.check_type(name)
            adding.check_size(name, len(entry.content))
        except Problem as problem:
            contents.refused.append(f"{name}: {problem.message}")
        else:
            content_hash = hashlib.sha256(entry.content).hexdigest()
            yield Given(name, content_hash, ContentFile(entry.content, PurePath(name).name))


def batches(entries: Iterable[Given]) -> Iterator[list[Given]]:
    """The files in groups; a group ends with the file that makes it large enough."""
    batch: list[Given] = []
    held = 0
    for given in entries:
        batch.append(given)
        held += given.file.size
        if len(batch) >= BATCH or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def take_in(document: Document, batch: list[Given], contents: Contents) -> bool:
    """Some of the files, in one transaction: new ones become documents, known ones are recognised.

    Returns whether any is new.
    """
    for given in batch:
        originals.store(given.file, given.content_hash)
    with transaction.atomic():
        hashes = sorted({given.content_hash for given in batch})
        originals.lock(hashes)
        locked = queueing.extended(document)
        own, here, elsewhere = same_files(locked, hashes)
        named = {
            entry.filename: entry for entry in locked.entries.filter(filename__in=[g.name for g in batch])
        }
        new: list[tuple[Document, Given]] = []
        for given in batch:
            if given.content_hash not in contents.known:
                same = own.get((given.name, given.content_hash)) or here.get(given.content_hash)
                if same is None:
                    same = named.get(given.name) or entry_of(locked, given, elsewhere.get(given.content_hash))
                    new.append((same, given))
                contents.known[given.content_hash] = Known(same.pk, same.filename)
            known = contents.known[given.content_hash]
            as_other = "" if known.filename == given.name else f" (the same as {known.filename})"
            contents.held.append(given.name + as_other)
        adding.queue_all(locked.created_by, new, paused=locked.paused)
    return bool(new)


def same_files(
    archive: Document, hashes: list[str]
) -> tuple[dict[tuple[str, str], Document], dict[str, Document], dict[str, Document]]:
    """Documents with these files: the archive's own by name and hash; others of its collection; others elsewhere.

    Of those elsewhere only what the giver of the archive may see. An own entry of another name does not
    count: the archive may hold something else by that name today.
    """
    found = adding.holding(*hashes).order_by("-created_at", "-pk")
    near = list(found.filter(collection=archive.collection_id).exclude(pk=archive.pk))
    own = {(same.filename, adding.found_hash(same)): same for same in near if same.archive_id == archive.pk}
    here = {adding.found_hash(same): same for same in near if same.archive_id != archive.pk}
    giver: User | None = archive.created_by
    if giver is None:
        return own, here, {}
    far = found.exclude(collection=archive.collection_id).visible_to(giver)
    return own, here, {adding.found_hash(same): same for same in far}


def entry_of(archive: Document, given: Given, same_as: Document | None) -> Document:
    return Document(
        collection_id=archive.collection_id,
        title=PurePath(given.name).stem[:500],
        filename=given.name,
        tags=archive.tags,
        created_by=archive.created_by,
        upload_id=archive.upload_id,
        archive=archive,
        same_as=same_as,
    )


def forget_entries(document: Document, but: Iterable[UUID] = ()) -> None:
    """Deletes what the archive held in an earlier revision and holds no more."""
    with transaction.atomic():
        locked = queueing.extended(document)
        gone = locked.entries.exclude(pk__in=list(but))
        revisions = DocumentRevision.objects.filter(document__in=gone)
        originals.remove_unused_on_commit(set(revisions.values_list("sha256", flat=True)))
        gone.delete()
