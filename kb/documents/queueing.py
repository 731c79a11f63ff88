"""Whose turn it is to be parsed: collections take turns, and inside each the longest waiting comes first."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from kb.core.holding import held
from kb.core.models import Collection
from kb.documents import stages
from kb.documents.models import Document, DocumentStage

# The states are written out as in the condition of the index document_queue: else it would not be used.
# Small files that were never tried are taken several at once, so that they can be written together. One at which a
# worker ended before is taken alone: were it to blame, it would take the others with it.
CLAIM = """
WITH next AS (
    SELECT id, incoming_id, attempts, queued_at FROM documents_document
    WHERE {which} AND state IN ('queued', 'parsing') AND NOT paused AND incoming_id IS NOT NULL
        AND (state = 'queued' OR (state = 'parsing' AND (claimed_until < %(now)s OR EXISTS (
            SELECT FROM documents_documentstage begun WHERE begun.document_id = documents_document.id
                AND begun.stage = 'parse' AND begun.heartbeat_at < %(silent)s
        ))))
    ORDER BY queued_at, id LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
), weighed AS (
    SELECT next.id, row_number() OVER (ORDER BY next.queued_at, next.id) AS place,
        next.attempts = 0 AND revision.size <= %(small)s AS light
    FROM next JOIN documents_documentrevision revision ON revision.id = next.incoming_id
), taken AS (
    UPDATE documents_document document SET state = 'parsing', claimed_until = %(until)s,
        attempts = attempts + 1, error = '', error_code = '', updated_at = %(now)s
    FROM weighed WHERE document.id = weighed.id
        AND (weighed.place = 1 OR weighed.light AND (SELECT light FROM weighed WHERE place = 1))
    RETURNING document.id, document.attempts, document.incoming_id
)
INSERT INTO documents_documentstage AS stage (
    document_id, stage, state, attempt, content_hash, done, total, reused, worker, error, started_at, heartbeat_at
)
SELECT taken.id, 'parse', 'running', taken.attempts, revision.sha256, 0, 1, 0, %(worker)s, '', %(now)s, %(now)s
FROM taken JOIN documents_documentrevision revision ON revision.id = taken.incoming_id
ORDER BY taken.id
ON CONFLICT (document_id, stage) DO UPDATE SET
    state = 'running', attempt = excluded.attempt, content_hash = excluded.content_hash, done = 0, total = 1,
    reused = 0, worker = excluded.worker, error = '', started_at = excluded.started_at,
    heartbeat_at = excluded.heartbeat_at, finished_at = NULL
RETURNING document_id
"""
NEXT_OF_COLLECTION = CLAIM.format(which="collection_id = %(collection)s")
THIS_ONE = CLAIM.format(which="id = %(document)s")
MOST_AT_ONCE = 64
SMALL = 65_536  # bytes: read within milliseconds
# Whoever works on a document beats every few seconds (kb.documents.stages): one that is silent so long is gone.
SILENT = timedelta(seconds=30)


class ClaimLost(Exception):
    """The document was deleted, replaced, cancelled or taken over while this process worked on it."""


def lease() -> timedelta:
    """Longer than parsing and chunking can take: a claim ends then, even if its worker still shows life."""
    return timedelta(seconds=3 * settings.PARSE_SECONDS + 60)


def claim(document_id: UUID) -> Document | None:
    """Takes the document for this process; None if somebody else has it, it is paused or needs nothing."""
    return next(iter(_claimed(THIS_ONE, 1, document=document_id)), None)


def claim_next(collection_id: int, most: int = MOST_AT_ONCE) -> list[Document]:
    """Takes the collection's next document for this process, or several small ones; none if none waits."""
    return _claimed(NEXT_OF_COLLECTION, most, collection=collection_id)


def _claimed(statement: str, most: int, **which: Any) -> list[Document]:
    now = timezone.now()
    given = which | {
        "now": now,
        "until": now + lease(),
        "silent": now - SILENT,
        "worker": stages.worker(),
        "most": most,
        "small": SMALL,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        ids = [document for (document,) in cursor.fetchall()]
    claimed = Document.objects.select_related("incoming", "collection").filter(pk__in=ids)
    return list(claimed.order_by("queued_at", "pk")) if ids else []


def give_back(documents: Sequence[Document]) -> None:
    """Puts claimed documents that were not begun back to their places, as if they had not been taken."""
    if not documents:
        return
    with transaction.atomic():
        mine = all_mine(documents)
        Document.objects.filter(pk__in=list(mine)).update(
            state=Document.State.QUEUED,
            claimed_until=None,
            attempts=F("attempts") - 1,
            updated_at=timezone.now(),
        )
        stages.forget(mine, stages.Stage.PARSE)


def still_claimed(document: Document, row: Document) -> bool:
    """Whether, as its row says now, nobody has replaced, retried or taken over what this process took."""
    claim = (document.incoming_id, document.claimed_until)
    return row.state == Document.State.PARSING and (row.incoming_id, row.claimed_until) == claim


def mine(document: Document) -> Document | None:
    """The locked row, if this claim still holds."""
    return all_mine([document]).get(document.pk)


def all_mine(documents: Sequence[Document]) -> dict[UUID, Document]:
    """The locked rows, by id, of those of the documents whose claim still holds."""
    held(Collection, sorted({document.collection_id for document in documents}))
    taken = {document.pk: document for document in documents}
    # The weaker lock lets footnotes refer to a document while its new chunks are written.
    locked = Document.objects.select_for_update(no_key=True).filter(pk__in=list(taken)).order_by("pk")
    return {row.pk: row for row in locked if still_claimed(taken[row.pk], row)}


def extended(document: Document) -> Document:
    """The locked row, as `mine`, with the claim made to last from now on. Raises ClaimLost if it is no more."""
    locked = mine(document)
    if locked is None:
        raise ClaimLost
    locked.claimed_until = document.claimed_until = timezone.now() + lease()
    locked.save(update_fields=["claimed_until"])
    return locked


def waiting() -> QuerySet[Document]:
    """Documents that nobody works on and somebody should: new ones, and those of killed workers."""
    now = timezone.now()
    begun = DocumentStage.objects.filter(document=OuterRef("pk"), stage=stages.Stage.PARSE)
    silent = Exists(begun.filter(heartbeat_at__lt=now - SILENT))
    dropped = Q(state=Document.State.PARSING) & (Q(claimed_until__lt=now) | silent)
    return Document.objects.filter(
        Q(state=Document.State.QUEUED) | dropped,
        state__in=["queued", "parsing"],
        paused=False,
        incoming__isnull=False,
    )


def several_wait() -> bool:
    """Whether there is more to parse than one worker has at hand."""
    return len(waiting().order_by().values_list("pk")[:2]) > 1


_served = {"last": 0}


def next_collection() -> int | None:
    """The collection whose turn it is: of those with something to parse the next after this process's last one."""
    found = collections_waiting()
    chosen = found.filter(pk__gt=_served["last"]).first() or found.first()
    if chosen is not None:
        _served["last"] = chosen
    return chosen


def collections_waiting() -> QuerySet[Collection, int]:
    """The collections that have something to parse, by id."""
    mine = waiting().filter(collection=OuterRef("pk")).order_by()
    return Collection.objects.filter(Exists(mine)).order_by("pk").values_list("pk", flat=True)
