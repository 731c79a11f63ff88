"""Turns a queued document's file into text and chunks: claim, parse under limits, write at once."""

import atexit
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from kb.core.holding import held
from kb.core.models import Collection
from kb.core.problems import Problem
from kb.documents import chunks
from kb.documents.models import Chunking, Document, DocumentRevision
from kb.documents.signals import chunkings_wanted
from retrieval.loading import LoadError
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.spans import LoadedText

logger = logging.getLogger(__name__)

Load = Callable[[Path, str], LoadedText]
MOST_ATTEMPTS = 3
_loaders = threading.local()


def isolated_load(path: Path, filename: str) -> LoadedText:
    """Loads in this thread's zygote, which is started at first use (so after any fork)."""
    if not hasattr(_loaders, "loader"):
        _loaders.loader = IsolatedLoader(
            Limits(
                memory_bytes=settings.PARSE_MEMORY_BYTES,
                cpu_seconds=settings.PARSE_SECONDS,
                wall_seconds=2 * settings.PARSE_SECONDS,
                max_text_chars=settings.PARSE_MAX_CHARACTERS,
            )
        )
        atexit.register(_loaders.loader.close)
    loaded: LoadedText = _loaders.loader.load(path, filename)
    return loaded


def lease() -> timedelta:
    """Longer than parsing and chunking can take, so that a claim is never taken over too early."""
    return timedelta(seconds=3 * settings.PARSE_SECONDS + 60)


def claim(document_id: UUID) -> Document | None:
    """Takes the document for this process by one UPDATE; None if somebody else has it or it needs nothing."""
    now = timezone.now()
    waiting = Q(state=Document.State.QUEUED) | Q(state=Document.State.PARSING, claimed_until__lt=now)
    taken = Document.objects.filter(waiting, pk=document_id, incoming__isnull=False).update(
        state=Document.State.PARSING,
        claimed_until=now + lease(),
        attempts=F("attempts") + 1,
        error="",
        error_code="",
    )
    return Document.objects.select_related("incoming", "collection").get(pk=document_id) if taken else None


def parse(document_id: UUID, load: Load = isolated_load) -> None:
    """Parses and chunks a document that waits for it; does nothing otherwise, so it may run twice."""
    document = claim(document_id)
    if document is None or document.incoming is None:
        return
    if document.attempts > MOST_ATTEMPTS:
        fail(
            document,
            "crashed",
            "Parsing ended without a result several times. Try another form of this file.",
        )
        return
    try:
        work(document, document.incoming, load)
    except (LoadError, Problem) as error:
        fail(document, error.code, error.message)
    except FileNotFoundError:
        logger.exception("The original of document %s is missing", document.pk)
        fail(document, "original_missing", "The stored file is missing: put it in again to replace it.")


def work(document: Document, revision: DocumentRevision, load: Load) -> None:
    if revision.parsed_at is None:
        take_text(revision, load(Path(revision.file.path), revision.filename))
    title = revision.title or Path(revision.filename).stem
    wanted = wanted_chunkings(document)
    cuts = [(chunking, chunks.cut(revision, chunking, title)) for chunking in wanted]
    with transaction.atomic():
        locked = mine(document)
        if locked is None:
            return
        revision.save()
        locked.title, locked.filename = title[:500], revision.filename
        locked.current, locked.incoming = revision, None
        locked.state, locked.claimed_until, locked.attempts = Document.State.EMBEDDING, None, 0
        locked.save()
        for chunking, pieces in cuts:
            chunks.write(locked, revision, chunking, pieces)


def take_text(revision: DocumentRevision, text: LoadedText) -> None:
    revision.text, revision.title, revision.media_type = text.text, text.title[:500], text.media_type
    revision.pages = [[page.number, page.start, page.end] for page in text.pages]
    revision.headings = [[h.level, h.title, h.start, h.end] for h in text.headings]
    revision.parsed_at = timezone.now()


def wanted_chunkings(document: Document) -> list[Chunking]:
    wanted: dict[int, Chunking] = {}
    for _, chunkings in chunkings_wanted.send(Document, collection=document.collection):
        wanted |= {chunking.pk: chunking for chunking in cast("list[Chunking]", chunkings)}
    if not wanted:
        raise Problem("no_index", "There is no index to put this into: run `manage.py prepare`, then retry.")
    return list(wanted.values())


def mine(document: Document) -> Document | None:
    """The locked row, if this claim still holds: not deleted, replaced, retried or taken over meanwhile."""
    held(Collection, [document.collection_id])
    return (
        # The weaker lock lets footnotes refer to the document while its new chunks are written.
        Document.objects.select_for_update(no_key=True)
        .filter(
            pk=document.pk,
            state=Document.State.PARSING,
            incoming=document.incoming_id,
            claimed_until=document.claimed_until,
        )
        .first()
    )


def fail(document: Document, code: str, message: str) -> None:
    """Ends the work with a reason. A document that was being replaced keeps its current revision."""
    with transaction.atomic():
        locked = mine(document)
        if locked is not None:
            locked.state, locked.claimed_until = Document.State.FAILED, None
            locked.error_code, locked.error = code, message
            locked.save(update_fields=["state", "claimed_until", "error_code", "error", "updated_at"])
            logger.info("Document %s failed: %s", document.pk, message)


def waiting(most: int) -> list[UUID]:
    """Documents that should have been taken by now: lost messages, killed workers."""
    now = timezone.now()
    lost = Q(state=Document.State.QUEUED, updated_at__lt=now - timedelta(seconds=30))
    dropped = Q(state=Document.State.PARSING, claimed_until__lt=now)
    found = Document.objects.filter(lost | dropped).order_by("updated_at").values_list("pk", flat=True)
    return list(found[:most])
