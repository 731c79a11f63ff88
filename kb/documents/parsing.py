"""Turns the files of queued documents into text and chunks: claim, parse under limits, write at once."""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from kb.core.beating import Pace, beat
from kb.core.problems import Problem, is_full, not_stored
from kb.documents import adding, archives, chunks, queueing, stages, writing
from kb.documents.models import Document, DocumentRevision
from kb.documents.queueing import ClaimLost
from kb.documents.writing import READ, Parsed
from retrieval.embedders.local import default_tokenizer
from retrieval.loading import PARSER, LoadError
from retrieval.loading.archives import ARCHIVES
from retrieval.loading.errors import ReaderStopped
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.loading.language import identifier
from retrieval.spans import LoadedText

logger = logging.getLogger(__name__)

Load = Callable[[Path, str], LoadedText]
MOST_ATTEMPTS = 3
SECONDS_TOGETHER = 2.0
_loaders = threading.local()
_pace = Pace()


class Batch:
    """What documents share that are parsed together."""

    def __init__(self, load: Load, documents: Sequence[Document]) -> None:
        self.load = load
        self.wanted = cache(writing.wanted_chunkings)
        self._read = read_before([document.incoming for document in documents if document.incoming])

    def same(self, revision: DocumentRevision) -> DocumentRevision | None:
        """Another document's revision whose text may be taken over, if it is still there."""
        key = self._read.get(revision.pk)
        return DocumentRevision.objects.filter(pk=key).first() if key else None


def get_ready() -> None:
    """Loads what every document needs, before the first one has to wait for it."""
    default_tokenizer()
    identifier()


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
        parse_claimed([document], load)


def parse_for(collection_id: int, seconds: float, load: Load = isolated_load) -> bool:
    """Works on what waits in the collection for about `seconds`. Returns whether there may be more to do."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        documents = queueing.claim_next(collection_id)
        if not documents:
            return False
        began = time.monotonic()
        parse_claimed(documents, load)
        _pace.add(len(documents), time.monotonic() - began)
        beat("parse", _pace.rate)
    return True


def parse_claimed(documents: Sequence[Document], load: Load) -> None:
    """Parses what this process has claimed, and writes it together. Whatever goes wrong is one document's alone.

    What is not begun within `SECONDS_TOGETHER` is given back: somebody else may take it meanwhile.
    """
    with stages.kept_alive([document.pk for document in documents], "parse"):
        parse_together(documents, load)


def parse_together(documents: Sequence[Document], load: Load) -> None:
    until = time.monotonic() + SECONDS_TOGETHER
    done: list[Parsed] = []
    begun = 0
    try:
        batch = Batch(load, documents)
        for document in documents:
            if begun and time.monotonic() > until:
                break
            begun += 1
            if (read := attempted(document, batch)) is not None:
                done.append(read)
    finally:  # whatever ended this, such as a database that was away for a moment: what was read is worth keeping
        write(done)
        queueing.give_back(documents[begun:])


def attempted(document: Document, batch: Batch) -> Parsed | None:
    """The document as it is to be written; None where there is nothing to write, and why is noted."""
    if document.attempts > MOST_ATTEMPTS:
        fail(
            document,
            "crashed",
            "Parsing ended without a result several times. Try another form of this file.",
        )
        return None
    try:
        return parsed(document, cast("DocumentRevision", document.incoming), batch)
    except (LoadError, Problem) as error:
        refused(document, error)
    except archives.Unfinished:
        queueing.give_back([document])
    except ClaimLost:
        logger.info("Document %s was taken from this worker", document.pk)
    except FileNotFoundError:
        logger.exception("The original of document %s is missing", document.pk)
        fail(document, "original_missing", "The stored file is missing: put it in again to replace it.")
    except Exception as error:
        logger.exception("Document %s could not be parsed", document.pk)
        if isinstance(error, OSError) and is_full(error):
            refused(document, not_stored(error))
        else:
            put_back(document, error)
    return None


def refused(document: Document, error: LoadError | Problem) -> None:
    """Fails the document for this reason; what may pass by itself is tried again before."""
    passing = isinstance(error, ReaderStopped) or error.code == "not_stored"
    if passing and document.attempts < MOST_ATTEMPTS:
        put_back(document, error)
    else:
        fail(document, error.code, error.message)


def parsed(document: Document, revision: DocumentRevision, batch: Batch) -> Parsed:
    began = timezone.now()
    reused = revision.parsed_at is not None or fill(document, revision, batch)
    read = timezone.now()
    title = revision.title or Path(revision.filename).stem
    wanted = batch.wanted(document.collection)
    cuts = {chunking: chunks.cut(revision, chunking, title) for chunking in wanted}
    return Parsed(document, revision, title, cuts, reused, began, read, timezone.now())


def cut_again(each: Parsed) -> Parsed:
    """In the chunkings that are wanted by now."""
    wanted = writing.wanted_chunkings(each.document.collection)
    cuts = {
        chunking: each.cuts.get(chunking) or chunks.cut(each.revision, chunking, each.title)
        for chunking in wanted
    }
    return replace(each, cuts=cuts, cut_at=timezone.now())


def write(done: Sequence[Parsed]) -> None:
    """Writes them together; where that fails, one by one, so that only those that fail are put back."""
    try:
        while done:  # another chunking may be wanted by the time that these are cut
            done = [cut_again(each) for each in writing.write(done)]
    except Exception as error:
        if len(done) == 1:
            logger.exception("Document %s could not be written", done[0].document.pk)
            put_back(done[0].document, error)
            return
        logger.warning("%s documents could not be written together", len(done), exc_info=True)
        with ExitStack() as stack:  # each of them, whatever becomes of the others
            for each in reversed(done):
                stack.callback(write, [each])


def fill(document: Document, revision: DocumentRevision, batch: Batch) -> bool:
    """Gives the revision its text. Returns whether that was there already, in a revision of the same file."""
    if adding.suffix_of(revision.filename) in ARCHIVES:
        take_text(revision, archives.take_apart(document, revision))
        return False
    if revision.number > 1:  # an archive may have been before it
        archives.forget_entries(document)
    same = batch.same(revision)
    if same is not None:
        for name in READ:
            setattr(revision, name, getattr(same, name))
        revision.parsed_at = timezone.now()
        return True
    take_text(revision, batch.load(Path(revision.file.path), revision.filename))
    return False


def read_before(revisions: Sequence[DocumentRevision]) -> dict[int, int]:
    """For each revision, by its key, the key of another document's of the same file that these loaders have read.

    Who reads a document once more wants it read: where an earlier revision of its own is the same, there is none.
    """
    found = (
        DocumentRevision.objects.filter(sha256__in={revision.sha256 for revision in revisions})
        .filter(parser=PARSER, parsed_at__isnull=False)  # a text that other loaders made is made again
        .order_by("pk")
        .values_list("pk", "sha256", "filename", "document_id")
    )
    read: dict[int, int] = {}
    own: set[int] = set()
    for key, content_hash, filename, document_id in found:
        for revision in revisions:
            # The name says which loader reads it.
            suffixes = {adding.suffix_of(filename), adding.suffix_of(revision.filename)}
            if content_hash == revision.sha256 and len(suffixes) == 1:
                read.setdefault(revision.pk, key)
                if document_id == revision.document_id:
                    own.add(revision.pk)
    return {revision: same for revision, same in read.items() if revision not in own}


def take_text(revision: DocumentRevision, text: LoadedText) -> None:
    revision.text, revision.title, revision.media_type = text.text, text.title[:500], text.media_type
    revision.pages = [[page.number, page.start, page.end] for page in text.pages]
    revision.headings = [[h.level, h.title, h.start, h.end] for h in text.headings]
    revision.author = text.author[:500]
    revision.language = text.language[:10]
    revision.written_at = text.written_at
    revision.parser, revision.parsed_at = PARSER, timezone.now()


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
