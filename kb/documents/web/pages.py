"""Asks for a page whose time has come, and writes what came of it."""

import hashlib
import logging
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from kb.core.holding import held
from kb.core.models import Collection
from kb.core.problems import Problem
from kb.documents import sources, stages
from kb.documents.models import Source, WebPage
from kb.documents.sources import end_page
from kb.documents.web import storing
from kb.documents.web.fetching import Fetcher, Validators
from kb.documents.web.hosts import Visit
from kb.documents.web.media import why_no_page
from kb.documents.web.outcomes import Failed, Fetched, Gone, Later, NotModified, Outcome, Refused

logger = logging.getLogger(__name__)

MOST_BYTES = 50 * 1024 * 1024
# Entries leave a feed by their age: what it lists no longer is looked at now and then only.
UNLISTED_PAUSE = timedelta(days=7)
DELETED = "Its document was deleted, so it is not asked for any more."


@dataclass(frozen=True)
class Visited:
    """A page that was asked for: its host and when that may be asked again, and what is to be parsed now."""

    origin: str
    seconds: float
    collection: int | None = None


def fetch(page_id: int, fetcher: Fetcher) -> Visited | None:
    """Asks for a page that is due and takes what came; None if nobody was asked, so it may run twice."""
    if not sources.claimed(sources.due_pages().filter(pk=page_id)):
        return None
    page = (
        WebPage.objects.select_related("source__collection", "source__created_by").filter(pk=page_id).first()
    )
    if page is None:  # its source was removed since
        return None
    if page.sha256 and page.document_id is None and page.same_as_id is None:
        end_page(page, next_at=None, error=storing.DELETED)  # what a person deleted stays deleted
        return None
    outlast_crashes(page)
    with Visit(fetcher) as visit:
        found = fetcher.fetch(
            page.url,
            most_bytes=min(MOST_BYTES, settings.MAX_UPLOAD_BYTES),
            validators=known(page),
            may_ask=visit.may_ask,
            why_not=why_no_page,
        )
        visit.heed(found)
    queued = settle(page, found)
    if isinstance(found, Later):
        return None
    return Visited(page.origin, visit.delay(page.origin), page.source.collection_id if queued else None)


def known(page: WebPage) -> Validators | None:
    """What the server said of the page as we have it; nothing where another page's document stands for it."""
    return Validators(page.final_url, page.etag, page.last_modified) if page.document_id else None


def outlast_crashes(page: WebPage) -> None:
    """A page that ended its workers again and again is claimed for longer each time."""
    pause = sources.crash_pause(page.attempts, page.source.every)
    if pause is not None:
        next_at = timezone.now() + pause
        WebPage.objects.filter(pk=page.pk, next_at=page.next_at).update(
            next_at=next_at, error=sources.CRASHED, claimed_by=""
        )
        page.next_at = next_at


def settle(page: WebPage, found: Outcome) -> bool:
    """Writes what came of asking for the page; returns whether a document is queued by it."""
    now = timezone.now()
    match found:
        case Fetched():
            return take(page, found)
        case NotModified():
            end_page(page, next_at=now + interval(page), checked_at=now, error="", vanished_at=None)
        case Gone(status=status):
            vanish(page, status)
        case Refused(reason=reason):
            fail(page, reason, max(page.source.every, sources.REFUSED_PAUSE))
        case Failed(reason=reason, retry_after=seconds):
            pause = sources.pause_after(page.attempts, page.source.every, seconds)
            fail(page, reason, pause, attempts=page.attempts)
        case Later(seconds=seconds, reason=reason):
            told = {"error": reason} if reason else {}
            # Nobody was asked, so it was no attempt.
            end_page(page, next_at=now + timedelta(seconds=seconds), attempts=page.attempts - 1, **told)
    return False


def interval(page: WebPage) -> timedelta:
    """How long until the page is looked at again."""
    source = page.source
    unlisted = source.listed_at is not None and page.listed_at < source.listed_at
    if source.kind == Source.Kind.FEED and unlisted:
        return max(source.every, UNLISTED_PAUSE)
    return source.every


def take(page: WebPage, found: Fetched) -> bool:
    """Stores the page, unless it is what is stored already; returns whether a document is queued by it."""
    now = timezone.now()
    try:
        file = storing.file_of(found)
        content_hash = hashlib.sha256(file.read()).hexdigest()
        fields = {
            "final_url": str(found.address),
            "etag": found.etag,
            "last_modified": found.last_modified,
            "checked_at": now,
            "vanished_at": None,
            "error": "",
            "next_at": now + interval(page),
        }
        if page.document_id is not None and page.sha256 == content_hash:
            end_page(page, **fields)
            return False
        changed = {"sha256": content_hash, "changed_at": now}
        return storing.store(page, file, content_hash, fields | changed) is not None
    except Problem as problem:
        # A full disk is not the page's fault.
        pause = sources.FIRST_PAUSE if problem.code == "not_stored" else sources.REFUSED_PAUSE
        fail(page, problem.message, pause)
        return False


def fail(page: WebPage, reason: str, pause: timedelta, attempts: int = 0) -> None:
    """The document stays as it is; its fetch stage says what went wrong."""
    logger.info("%s was not fetched: %s", page.url, reason)
    now = timezone.now()
    ours = end_page(page, next_at=now + pause, error=reason, attempts=attempts, checked_at=now)
    if ours and page.document_id is not None:
        stages.begin(page.document_id, stages.Stage.FETCH, attempt=max(attempts, 1))
        stages.fail(page.document_id, stages.Stage.FETCH, reason)


def vanish(page: WebPage, status: int) -> None:
    """Marks the page; its document goes where the source says so.

    A 404 must be seen twice for that, a day apart at most: a server that is being repaired says it of everything.
    """
    now = timezone.now()
    deleting = page.source.when_vanished == Source.WhenVanished.DELETE
    certain = status == 410 or page.vanished_at is not None
    fields = {
        "vanished_at": page.vanished_at or now,
        "error": f"The server says that there is no such page ({status}).",
        "checked_at": now,
        "next_at": now + (min(page.source.every, sources.LONGEST_PAUSE) if deleting else interval(page)),
    }
    with transaction.atomic():
        if not held(Collection, [page.source.collection_id]):
            return
        document = storing.locked_document(page.document_id)
        if deleting and certain:
            # As if it had never been seen: it may come back.
            fields |= {"sha256": "", "etag": "", "last_modified": "", "same_as": None}
        if end_page(page, **fields) and deleting and certain and document is not None:
            storing.remove(document.pk, page.url)
