"""Celery's side of parsing: ids in, the rows say what is to be done."""

from uuid import UUID

from celery import shared_task

from kb.core.waking import wake
from kb.documents import originals, parsing

MOST_PER_SWEEP = 200


# What is not done when the claim ends is another worker's: going on would be for nothing.
CLAIM_SECONDS = int(parsing.lease().total_seconds())


@shared_task(soft_time_limit=CLAIM_SECONDS, time_limit=CLAIM_SECONDS + 60)
def parse_document_task(document_id: str) -> None:
    parsing.parse(UUID(document_id))


@shared_task(soft_time_limit=60, time_limit=90)
def sweep_documents_task() -> None:
    """Wakes workers for documents whose message was lost or whose worker died."""
    for document_id in parsing.waiting(MOST_PER_SWEEP):
        wake(parse_document_task, str(document_id), expires=60)


@shared_task(soft_time_limit=600, time_limit=660)
def sweep_files_task() -> None:
    originals.sweep()
