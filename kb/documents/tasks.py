"""Celery's side of parsing: ids in, the rows say what is to be done.

One message stands for all that waits to be parsed: a worker that takes it works for a while on the collection
whose turn it is, then sends its successor. So collections take turns, however many messages there are, and the
broker stays nearly empty.
"""

import logging
import threading
from uuid import UUID

from celery import shared_task
from celery.signals import worker_process_init
from django.core.cache import cache
from django.db import transaction
from redis.exceptions import RedisError

from kb.core.beating import showing_life
from kb.core.waking import wake
from kb.documents import originals, parsing, queueing, sources
from kb.documents.web import listings, pages
from kb.documents.web.fetching import Fetcher

logger = logging.getLogger(__name__)

SECONDS_PER_TURN = 10
# As long as a message may stay unseen, for whatever became of it, before another one is sent.
WAKE_SECONDS = 20
WAKE_KEY = "parse-wake"
# What is not done when the claim ends is another worker's: going on would be for nothing.
CLAIM_SECONDS = int(queueing.lease().total_seconds())


@worker_process_init.connect  # sent in the children of a pool of processes, which only the workers that parse have
def get_ready_soon(**_: object) -> None:
    """In a thread: a child that is not there within seconds is taken for dead."""
    threading.Thread(target=parsing.get_ready, daemon=True).start()


@shared_task(
    soft_time_limit=CLAIM_SECONDS + SECONDS_PER_TURN, time_limit=CLAIM_SECONDS + SECONDS_PER_TURN + 60
)
def parse_documents_task() -> None:
    """Parses for a while in the collection whose turn it is; a second task at the same time takes other documents."""
    forget_wake()  # before the first look: what comes after it sends a new message
    if queueing.several_wait():
        wake_parsing()  # a worker that is free may help
    collection_id = queueing.next_collection()
    if collection_id is not None:
        parsing.parse_for(collection_id, SECONDS_PER_TURN)
        if queueing.waiting().exists():
            wake_parsing()


@shared_task(soft_time_limit=CLAIM_SECONDS, time_limit=CLAIM_SECONDS + 60)
def parse_document_task(document_id: str) -> None:
    parsing.parse(UUID(document_id))


@shared_task(soft_time_limit=60, time_limit=90)
def sweep_documents_task() -> None:
    """Wakes a worker for what waits because its message was lost or its worker died."""
    if queueing.waiting().exists():
        wake_parsing()


@shared_task(soft_time_limit=600, time_limit=660)
def sweep_files_task() -> None:
    originals.sweep()


def wake_parsing_on_commit() -> None:
    """Sends the message once the transaction is committed, unless one waits already."""
    transaction.on_commit(wake_parsing)


def wake_parsing() -> None:
    """Sends the message, unless one waits in the broker already.

    One that was not taken as long as it is known of is dropped: another one may stand for it by then.
    """
    if first_wake():
        wake(parse_documents_task, expires=WAKE_SECONDS)


def first_wake() -> bool:
    """Whether no message is known to wait. Without a cache nothing is known."""
    try:
        return cache.add(WAKE_KEY, True, WAKE_SECONDS)
    except (RedisError, OSError) as error:
        logger.warning("The cache does not answer (%s); a message is sent in any case.", error)
        return True


def forget_wake() -> None:
    try:
        cache.delete(WAKE_KEY)
    except (RedisError, OSError) as error:
        logger.warning("The cache does not answer (%s); the next message may wait for a sweep.", error)


# From the web --------------------------------------------------------------------------------------

# No time limits here: Celery has none for threads, in which these run. The fetcher's own clock and the most
# bytes of a listing bound each of them; a worker whose threads are all stuck falls silent and is replaced.
SOURCES_PER_SWEEP, PAGES_PER_SWEEP = 20, 100
LONGEST_COUNTDOWN = 60.0


@shared_task
def fetch_source_task(source_id: str) -> None:
    """Reads one file of a sitemap or feed, and sends itself for the next one."""
    with showing_life("fetch"):
        seconds = listings.check(UUID(source_id), Fetcher())
    if seconds is not None and seconds <= LONGEST_COUNTDOWN:
        wake(fetch_source_task, source_id, countdown=seconds)


@shared_task
def fetch_page_task(page_id: int) -> None:
    """Asks for a page; then, when its host may be asked again, for the next one of that host."""
    with showing_life("fetch"):
        visited = pages.fetch(page_id, Fetcher())
    if visited is None:
        return
    if visited.collection is not None:
        wake_parsing()
    following = sources.next_page(visited.origin) if visited.seconds <= LONGEST_COUNTDOWN else None
    if following is not None:
        wake(fetch_page_task, following, countdown=visited.seconds)


@shared_task(soft_time_limit=60, time_limit=90)
def sweep_sources_task() -> None:
    """Wakes workers for what of the web is due: new times that came, lost messages, killed workers."""
    sources.end_claims_of_the_dead()
    for source_id in sources.listings_to_read(SOURCES_PER_SWEEP):
        wake(fetch_source_task, str(source_id), expires=60)
    for page_id in sources.pages_to_fetch(PAGES_PER_SWEEP):
        wake(fetch_page_task, page_id, expires=60)
