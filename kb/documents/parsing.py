"""Turns a queued document's file into text and chunks: claim, parse under limits, write at once."""

import atexit
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.utils import timezone

from kb.core.beating import Pace, beat
from kb.core.problems import Problem
from kb.documents import adding, archives, chunks, queueing, stages
from kb.documents.models import Chunking, Document, DocumentRevision
from kb.documents.queueing import ClaimLost
from kb.documents.signals import chunkings_wanted
from kb.documents.stages import Entry
from retrieval import loading
from retrieval.loading import LoadError
from retrieval.loading.archives import ARCHIVES
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.spans import LoadedText

logger = logging.getLogger(__name__)

Load = Callable[[Path, str], LoadedText]
MOST_ATTEMPTS = 3
# The version of the loaders: a text that another one made is made again.
PARSER: str = getattr(loading, "PARSER", "1")
# What reading gives a revision, and another revision of the same file can take over.
READ = (
    "text",
    "title",
    "media_type",
    "pages",
    "headings",
    "author",
    "language",
    "written_at",
    "parser",
)
_loaders = threading.local()
_pace = Pace()


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


def parse(document_id: UUID, load: Load = isolated_load) -> None:
    """Parses and chunks a document that waits for it; does nothing otherwise, so it may run twice."""
    document = queueing.claim(document_id)
    if document is not None:
        parse_claimed(document, load)


def parse_for(collection_id: int, seconds: float, load: Load = isolated_load) -> bool:
    """Works on what waits in the collection for about `seconds`. Returns whether there may be more to do."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        document = queueing.claim_next(collection_id)
        if document is None:
            return False
        began = time.monotonic()
        parse_claimed(document, load)
        _pace.add(1, time.monotonic() - began)
        beat("parse", _pace.rate)
    return True


def parse_claimed(document: Document, load: Load) -> None:
    """Parses what this process has claimed. Whatever goes wrong is this document's alone."""
    if document.attempts > MOST_ATTEMPTS:
        fail(
            document,
            "crashed",
            "Parsing ended without a result several times. Try another form of this file.",
        )
        return
    try:
        work(document, cast("DocumentRevision", document.incoming), load)
    except (LoadError, Problem) as error:
        fail(document, error.code, error.message)
    except ClaimLost:
        logger.info("Document %s was taken from this worker", document.pk)
    except FileNotFoundError:
        logger.exception("The original of document %s is missing", document.pk)
        fail(document, "original_missing", "The stored file is missing: put it in again to replace it.")
    except Exception as error:
        logger.exception("Document %s could not be parsed", document.pk)
        put_back(document, error)


def work(document: Document, revision: DocumentRevision, load: Load) -> None:
    began = timezone.now()
    reused = revision.parsed_at is not None or fill(document, revision, load)
    parsed = timezone.now()
    title = revision.title or Path(revision.filename).stem
    wanted = wanted_chunkings(document)
    cuts = [(chunking, chunks.cut(revision, chunking, title)) for chunking in wanted]
    cut = timezone.now()
    with transaction.atomic():
        locked = queueing.mine(document)
        if locked is None:
            return
        revision.save()
        locked.title, locked.filename = title[:500], revision.filename
        locked.current, locked.incoming = revision, None
        locked.state, locked.claimed_until, locked.attempts = Document.State.EMBEDDING, None, 0
        locked.save()
        kept = [chunks.write(locked, revision, chunking, pieces) for chunking, pieces in cuts]
        count = sum(len(pieces) for _, pieces in cuts)
        entry = partial(Entry, document.pk, attempt=document.attempts)
        text_hash = hashlib.sha256(revision.text.encode()).hexdigest()
        stages.write(
            [
                entry("parse", 1, 1, int(reused), revision.sha256, started_at=began, finished_at=parsed),
                entry("chunk", count, count, sum(kept), text_hash, started_at=parsed, finished_at=cut),
                entry(
                    "index", count, count, sum(kept), text_hash, started_at=cut, finished_at=timezone.now()
                ),
            ]
        )


def fill(document: Document, revision: DocumentRevision, load: Load) -> bool:
    """Gives the revision its text. Returns whether that was there already, in a revision of the same file."""
    if adding.suffix_of(revision.filename) in ARCHIVES:
        take_text(revision, archives.take_apart(document, revision))
        return False
    if revision.number > 1:  # an archive may have been before it
        archives.forget_entries(document)
    same = read_before(revision)
    if same is not None:
        for name in READ:
            setattr(revision, name, getattr(same, name))
        revision.parsed_at = timezone.now()
        return True
    with stages.kept_alive(document.pk, "parse"):
        take_text(revision, load(Path(revision.file.path), revision.filename))
    return False


def read_before(revision: DocumentRevision) -> DocumentRevision | None:
    """A revision of the same file that these loaders have read, of whatever document, or None.

    Who reads a document once more wants it read, so its own earlier revisions do not count.
    """
    own = ExpressionWrapper(Q(document=revision.document_id), BooleanField())
    found = (
        DocumentRevision.objects.filter(sha256=revision.sha256, parser=PARSER, parsed_at__isnull=False)
        # The name says which loader reads it.
        .filter(filename__iendswith=Path(revision.filename).suffix)
        .order_by(own.desc(), "pk")
        .first()
    )
    return None if found is None or found.document_id == revision.document_id else found


def take_text(revision: DocumentRevision, text: LoadedText) -> None:
    revision.text, revision.title, revision.media_type = text.text, text.title[:500], text.media_type
    revision.pages = [[page.number, page.start, page.end] for page in text.pages]
    revision.headings = [[h.level, h.title, h.start, h.end] for h in text.headings]
    revision.author = getattr(text, "author", "")[:500]
    revision.language = getattr(text, "language", "")[:10]
    revision.written_at = getattr(text, "written_at", None)
    revision.parser, revision.parsed_at = PARSER, timezone.now()


def wanted_chunkings(document: Document) -> list[Chunking]:
    wanted: dict[int, Chunking] = {}
    for _, chunkings in chunkings_wanted.send(Document, collection=document.collection):
        wanted |= {chunking.pk: chunking for chunking in cast("list[Chunking]", chunkings)}
    if not wanted:
        raise Problem("no_index", "There is no index to put this into: run `manage.py prepare`, then retry.")
    return list(wanted.values())


def fail(document: Document, code: str, message: str) -> None:
    """Ends the work with a reason. A document that was being replaced keeps its current revision."""
    with transaction.atomic():
        locked = queueing.mine(document)
        if locked is not None:
            locked.state, locked.claimed_until = Document.State.FAILED, None
            locked.error_code, locked.error = code, message
            locked.save(update_fields=["state", "claimed_until", "error_code", "error", "updated_at"])
            stages.fail(document.pk, "parse", message)
            logger.info("Document %s failed: %s", document.pk, message)


def put_back(document: Document, error: Exception) -> None:
    """Queues the document again, behind the others; after the last attempt it has failed."""
    if document.attempts >= MOST_ATTEMPTS:
        name = type(error).__name__
        fail(
            document,
            "internal",
            f"Reading this file failed {MOST_ATTEMPTS} times by an error of the program ({name}). "
            "An administrator finds it in the log of the parse worker.",
        )
        return
    with transaction.atomic():
        locked = queueing.mine(document)
        if locked is not None:
            locked.state, locked.claimed_until = Document.State.QUEUED, None
            locked.queued_at = timezone.now()
            locked.save(update_fields=["state", "claimed_until", "queued_at", "updated_at"])
            stages.fail(document.pk, "parse", f"{type(error).__name__}: {error}")
