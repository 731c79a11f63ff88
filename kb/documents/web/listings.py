"""Reads a sitemap or feed whose time has come, one file at a time, and lists its pages."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from kb.core.holding import held
from kb.documents import sources
from kb.documents.models import Source, WebPage
from kb.documents.sources import end_listing
from kb.documents.web.addresses import WebAddress, web_address
from kb.documents.web.feeds import MOST_BYTES, READERS, BadListing, Entry, Listing
from kb.documents.web.fetching import Fetcher, Validators
from kb.documents.web.hosts import Visit
from kb.documents.web.outcomes import Failed, Fetched, Gone, Later, NotModified, Outcome, Refused
from kb.documents.web.robots import LEAST_DELAY

MOST_PAGES = 50_000
MOST_SITEMAPS, MOST_DEPTH = 200, 2
A_BATCH = 1000
TOO_MANY = f"It lists more than {MOST_PAGES:,} pages: the others are left out."
TOO_MANY_FILES = f"It consists of more than {MOST_SITEMAPS} sitemaps: the others are left out."


@dataclass
class Reading:
    """What is left to read of a listing that consists of several files: `(address, depth)` each.

    It is kept as JSON between the files. `begun` is in seconds since 1970.
    """

    left: list[tuple[str, int]]
    begun: float
    files: int = 0
    problem: str = ""

    @property
    def begun_at(self) -> datetime:
        return datetime.fromtimestamp(self.begun, UTC)


def check(source_id: UUID, fetcher: Fetcher) -> float | None:
    """Reads one file of a sitemap or feed that is due, so it may run twice.

    Returns the seconds after which to go on with its next file; None where there is none.
    """
    if not sources.claimed(sources.due_listings().filter(pk=source_id)):
        return None
    source = Source.objects.select_related("collection").get(pk=source_id)
    outlast_crashes(source)
    reading = Reading(**source.reading) if source.reading else Reading([(source.url, 0)], now_in_seconds())
    url, depth = reading.left[0]
    with Visit(fetcher) as visit:
        found = fetcher.fetch(
            url,
            most_bytes=MOST_BYTES[source.kind],
            validators=None if depth else Validators(url, source.etag, source.last_modified),
            may_ask=visit.may_ask,
        )
        visit.heed(found)
    more = read(source, reading, found)
    return visit.delay(web_address(url).origin) if more else None


def now_in_seconds() -> float:
    return timezone.now().timestamp()


def outlast_crashes(source: Source) -> None:
    """A listing that ended its workers again and again is claimed for longer each time."""
    pause = sources.crash_pause(source.attempts, source.every)
    if pause is not None:
        next_at = timezone.now() + pause
        Source.objects.filter(pk=source.pk, next_at=source.next_at).update(
            next_at=next_at, error=sources.CRASHED, state=Source.State.FAILED, reading={}, claimed_by=""
        )
        source.next_at, source.reading = next_at, {}


def read(source: Source, reading: Reading, found: Outcome) -> bool:
    """Writes what came of one file of the listing; returns whether there are more."""
    if isinstance(found, Later):
        later = timezone.now() + timedelta(seconds=found.seconds)
        told = {"error": found.reason} if found.reason else {}
        end_listing(source, next_at=later, attempts=source.attempts - 1, **told)
        return False
    listing = listed(source, found)
    if isinstance(listing, str):
        if reading.files == 0:
            give_up(source, found, listing)
            return False
        reading.problem = listing  # the other files are read all the same
        listing = Listing()
    take(source, reading, listing)
    return go_on(source, reading, found)


def listed(source: Source, found: Outcome) -> Listing | str:
    """What the file lists, or why it cannot be read."""
    match found:
        case Fetched(address=address, body=body):
            try:
                return READERS[source.kind](body, address)
            except BadListing as error:
                return str(error)
        case Gone(status=status):
            return f"The server says that there is no such address ({status})."
        case Refused(reason=reason) | Failed(reason=reason):
            return reason
    return Listing()


def take(source: Source, reading: Reading, listing: Listing) -> None:
    """Lists the pages of one file, and its sitemaps as files to come."""
    entries = [entry for entry in listing.entries if wanted(source, entry.address)]
    if not list_pages(source, entries, reading.begun_at):
        reading.problem = TOO_MANY
    (_, depth), reading.left = reading.left[0], reading.left[1:]
    reading.files += 1
    if depth >= MOST_DEPTH:
        return
    further = [str(address) for address in listing.sitemaps if wanted(source, address)]
    room = max(MOST_SITEMAPS - reading.files - len(reading.left), 0)
    if len(further) > room:
        reading.problem = TOO_MANY_FILES
    reading.left += [(url, depth + 1) for url in further[:room]]


def go_on(source: Source, reading: Reading, found: Outcome) -> bool:
    """Remembers what is left, or ends the reading and sets the time of the next one."""
    now = timezone.now()
    if reading.left:
        return end_listing(source, next_at=now + timedelta(seconds=LEAST_DELAY), reading=asdict(reading))
    fields = {
        "next_at": now + source.every,
        "reading": {},
        "last_checked_at": now,
        "state": Source.State.FAILED if reading.problem else Source.State.READ,
        "error": reading.problem,
    }
    if not isinstance(found, NotModified):
        fields["listed_at"] = reading.begun_at
        # An index that did not change says nothing of its sitemaps.
        alone = isinstance(found, Fetched) and reading.files == 1
        fields["etag"] = found.etag if alone and isinstance(found, Fetched) else ""
        fields["last_modified"] = found.last_modified if alone and isinstance(found, Fetched) else ""
    end_listing(source, **fields)
    return False


def give_up(source: Source, found: Outcome, reason: str) -> None:
    """The listing could not be read this time; its pages are looked at all the same."""
    now = timezone.now()
    pause = max(source.every, sources.REFUSED_PAUSE)
    if isinstance(found, Failed):
        pause = sources.pause_after(source.attempts, source.every, found.retry_after)
    end_listing(
        source,
        next_at=now + pause,
        attempts=source.attempts if isinstance(found, Failed) else 0,
        last_checked_at=now,
        state=Source.State.FAILED,
        error=reason,
        reading={},
    )


def wanted(source: Source, address: WebAddress) -> bool:
    """Whether the source may lead there: to its own host, unless it was said to reach further."""
    return source.other_hosts or address.host == web_address(source.url).host


def list_pages(source: Source, entries: Iterable[Entry], begun: datetime) -> bool:
    """Makes a page of each new entry, and has those that changed looked at; False if they are too many."""
    by_url = {str(entry.address): entry for entry in entries}
    urls = list(by_url)
    for start in range(0, len(urls), A_BATCH):
        batch = {url: by_url[url] for url in urls[start : start + A_BATCH]}
        with transaction.atomic():
            if not held(Source, [source.pk]):
                return True  # removed meanwhile
            if not list_batch(source, batch, begun):
                return False
    return True


def list_batch(source: Source, batch: dict[str, Entry], begun: datetime) -> bool:
    known = WebPage.objects.filter(source=source, url__in=batch)
    checked = dict(known.values_list("url", "checked_at"))
    known.update(listed_at=begun)
    look_again(source, [url for url, at in checked.items() if changed_since(batch[url], at)])
    # A page that another source of the collection brings in already would be there twice.
    elsewhere = WebPage.objects.filter(source__collection=source.collection_id, url__in=batch)
    taken = {*checked, *elsewhere.exclude(source=source).values_list("url", flat=True)}
    new = [entry for url, entry in batch.items() if url not in taken]
    room = max(MOST_PAGES - WebPage.objects.filter(source=source).count(), 0) if new else 0
    WebPage.objects.bulk_create(
        [
            WebPage(source=source, url=str(entry.address), origin=entry.address.origin, listed_at=begun)
            for entry in new[:room]
        ],
        ignore_conflicts=True,
    )
    return len(new) <= room


def changed_since(entry: Entry, checked_at: datetime | None) -> bool:
    return entry.changed is not None and checked_at is not None and entry.changed > checked_at


def look_again(source: Source, urls: list[str]) -> None:
    """Makes the pages due, except one that somebody asks for right now: its claim is a time soon to come."""
    now = timezone.now()
    later = WebPage.objects.filter(source=source, url__in=urls, next_at__gt=now + sources.CLAIM)
    later.update(next_at=now)
