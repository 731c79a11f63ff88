"""What each stage of a document's way does and did: one row for each document and stage, its newest attempt.

Nothing here fails for a document that was deleted meanwhile, and rows are locked in the order of
their documents, so that two workers never wait for each other in a circle.
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from kb.core.beating import showing_life
from kb.documents.models import Document, DocumentStage

Stage = DocumentStage.Stage
State = DocumentStage.State

BEAT_SECONDS = 5.0

UPSERT = """
INSERT INTO documents_documentstage AS stage (
    document_id, stage, state, attempt, content_hash, done, total, reused, worker, error,
    started_at, heartbeat_at, finished_at
)
SELECT document.id, given.stage, given.state, given.attempt, given.content_hash, given.done, given.total,
    given.reused, %(worker)s, '', given.started_at, coalesce(given.finished_at, given.started_at), given.finished_at
FROM unnest(
    %(documents)s::uuid[], %(stages)s::text[], %(states)s::text[], %(attempts)s::int[], %(hashes)s::text[],
    %(done)s::bigint[], %(totals)s::bigint[], %(reused)s::bigint[],
    %(started)s::timestamptz[], %(finished)s::timestamptz[]
) AS given (id, stage, state, attempt, content_hash, done, total, reused, started_at, finished_at)
JOIN documents_document document ON document.id = given.id
ORDER BY document.id, given.stage
ON CONFLICT (document_id, stage) DO UPDATE SET
    state = excluded.state, attempt = excluded.attempt, content_hash = excluded.content_hash,
    done = excluded.done, total = excluded.total, reused = excluded.reused, worker = excluded.worker,
    error = '', started_at = excluded.started_at, heartbeat_at = excluded.heartbeat_at,
    finished_at = excluded.finished_at
"""

LOCKED = """
WITH locked AS (
    SELECT stage.id, given.done FROM unnest(%(documents)s::uuid[], %(done)s::bigint[]) AS given (id, done)
    JOIN documents_documentstage stage ON stage.document_id = given.id AND stage.stage = %(stage)s
    ORDER BY stage.document_id FOR NO KEY UPDATE OF stage
)
UPDATE documents_documentstage stage SET
"""
ADVANCE = f"""{LOCKED} done = locked.done, heartbeat_at = %(now)s
FROM locked WHERE stage.id = locked.id AND stage.state = 'running'
"""
FINISH = f"""{LOCKED} state = 'done', done = stage.total, heartbeat_at = %(now)s, finished_at = %(now)s
FROM locked WHERE stage.id = locked.id
"""
# Waits for nobody: whoever holds a row writes it.
BEAT = """
WITH mine AS (
    SELECT id FROM documents_documentstage
    WHERE document_id = ANY(%(documents)s) AND stage = %(stage)s AND state = 'running'
    ORDER BY document_id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE documents_documentstage SET heartbeat_at = %(now)s WHERE id = ANY(ARRAY(SELECT id FROM mine))
"""


@dataclass(frozen=True)
class Entry:
    """One stage as it is to be written; without `finished_at` it runs."""

    document_id: UUID
    stage: str
    done: int = 0
    total: int = 0
    reused: int = 0
    content_hash: str = ""
    attempt: int = 1
    started_at: datetime | None = None
    finished_at: datetime | None = None


def worker() -> str:
    """Who works: this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def write(entries: Sequence[Entry]) -> None:
    """Makes the rows be as given, whatever stood there: one statement for any number of them."""
    if not entries:
        return
    now = timezone.now()
    columns: dict[str, Any] = {
        "documents": [entry.document_id for entry in entries],
        "stages": [str(entry.stage) for entry in entries],
        "states": [str(State.DONE if entry.finished_at else State.RUNNING) for entry in entries],
        "attempts": [entry.attempt for entry in entries],
        "hashes": [entry.content_hash for entry in entries],
        "done": [entry.done for entry in entries],
        "totals": [entry.total for entry in entries],
        "reused": [entry.reused for entry in entries],
        "started": [entry.started_at or now for entry in entries],
        "finished": [entry.finished_at for entry in entries],
    }
    with connection.cursor() as cursor:
        cursor.execute(UPSERT, columns | {"worker": worker()})


def begin(document_id: UUID, stage: str, *, total: int = 0, content_hash: str = "", attempt: int = 1) -> None:
    """The stage runs from now on; what an earlier attempt left is forgotten."""
    write([Entry(document_id, stage, total=total, content_hash=content_hash, attempt=attempt)])


def begin_many(stage: str, totals: Mapping[UUID, int]) -> None:
    """As `begin`, for many documents with the total of each."""
    write([Entry(document_id, stage, total=total) for document_id, total in totals.items()])


def advance(document_id: UUID, stage: str, done: int) -> None:
    """So much is done, and the worker lives."""
    advance_many(stage, {document_id: done})


def advance_many(stage: str, done: Mapping[UUID, int]) -> None:
    """As `advance`, for many documents with what is done of each."""
    _update(ADVANCE, stage, done)


def finish(
    document_id: UUID, stage: str, *, done: int | None = None, total: int | None = None, reused: int = 0
) -> None:
    """The stage is done: all of its total, where no other number is given."""
    now = timezone.now()
    row = DocumentStage.objects.filter(document=document_id, stage=stage)
    if total is None:
        total = row.values_list("total", flat=True).first() or 0
    row.update(
        state=State.DONE,
        done=total if done is None else done,
        total=total,
        reused=reused,
        error="",
        heartbeat_at=now,
        finished_at=now,
    )


def finish_many(stage: str, ids: Iterable[UUID]) -> None:
    """As `finish`, for many documents."""
    _update(FINISH, stage, dict.fromkeys(ids, 0))


def fail(document_id: UUID, stage: str, error: str) -> None:
    """The stage ended with this reason."""
    _end(DocumentStage.objects.filter(document=document_id, stage=stage), State.FAILED, error)


def forget(ids: Iterable[UUID], stage: str) -> None:
    """The stage was not begun, after all."""
    DocumentStage.objects.filter(document__in=list(ids), stage=stage).delete()


def cancel(document_id: UUID) -> None:
    """What runs of the document's stages was cancelled."""
    cancel_many(Document.objects.filter(pk=document_id))


def cancel_many(documents: QuerySet[Document]) -> None:
    """As `cancel`, for many documents."""
    running = DocumentStage.objects.filter(document__in=documents, state=State.RUNNING)
    _end(running, State.CANCELLED, "")


def _end(rows: QuerySet[DocumentStage], state: str, error: str) -> None:
    now = timezone.now()
    rows.update(state=state, error=error, heartbeat_at=now, finished_at=now)


def _update(statement: str, stage: str, done: Mapping[UUID, int]) -> None:
    if not done:
        return
    given: dict[str, Any] = {
        "documents": list(done),
        "done": list(done.values()),
        "stage": str(stage),
        "now": timezone.now(),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, given)


def kept_alive(ids: Iterable[UUID], stage: str) -> AbstractContextManager[None]:
    """While the block works on the documents, their rows show that the worker lives, and so does its heartbeat."""
    # The queue has the stage's name.
    return showing_life(stage, partial(_beat, list(ids), stage), BEAT_SECONDS)


def _beat(ids: list[UUID], stage: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(BEAT, {"documents": ids, "stage": str(stage), "now": timezone.now()})
