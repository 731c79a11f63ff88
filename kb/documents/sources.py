"""What of the web is due, and who has it.

A claim moves `next_at` into the future and says whose it is: that of a worker that shows no life any more is ended
by the sweep, any other by itself.
"""

from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import F, Model, QuerySet
from django.utils import timezone

from kb.core.beating import worker_name
from kb.core.models import Collection, Heartbeat
from kb.documents.models import Source, WebHost, WebPage

Row = TypeVar("Row", bound=Model)

# Longer than a fetch with all its redirects, and reading a large listing, can take.
CLAIM = timedelta(minutes=10)
# A worker that fetches beats every few seconds: one that is silent so long is gone.
SILENT = timedelta(seconds=45)
MOST_ATTEMPTS = 5
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(days=1)
# What is refused is refused tomorrow as well, as a rule.
REFUSED_PAUSE = timedelta(days=1)
CRASHED = "Reading this ended without a result several times. It is tried again later."


def working_sources() -> QuerySet[Source]:
    """Those that are not paused, in collections that are not."""
    # By subqueries, not joins: an UPDATE with a join would look at a row's time only before it waits for the row.
    return Source.objects.filter(paused=False, collection__in=Collection.objects.filter(paused=False))


def due_listings() -> QuerySet[Source]:
    """Sitemaps and feeds whose time has come; pages have times of their own."""
    return working_sources().exclude(kind=Source.Kind.PAGE).filter(next_at__lte=timezone.now())


def due_pages() -> QuerySet[WebPage]:
    """Pages whose time has come."""
    return WebPage.objects.filter(source__in=working_sources(), next_at__lte=timezone.now())


def listings_to_read(most: int) -> list[UUID]:
    """The sitemaps and feeds that have waited longest."""
    return list(due_listings().order_by("next_at").values_list("pk", flat=True)[:most])


def pages_to_fetch(most: int) -> list[int]:
    """For each host that may be asked now, the page that has waited longest."""
    busy = WebHost.objects.filter(not_before__gt=timezone.now()).values("origin")
    first = due_pages().exclude(origin__in=busy).order_by("origin", "next_at").distinct("origin")
    return list(first.values_list("pk", flat=True)[:most])


def next_page(origin: str) -> int | None:
    """The page of this host that has waited longest."""
    return due_pages().filter(origin=origin).order_by("next_at").values_list("pk", flat=True).first()


def claimed(due: QuerySet[Row]) -> bool:
    """Takes the one row for this process by one UPDATE; False if it is not due or somebody else's."""
    return bool(
        due.update(
            next_at=timezone.now() + CLAIM, attempts=F("attempts") + 1, claimed_by=worker_name("fetch")
        )
    )


def end_claims_of_the_dead() -> int:
    """What workers had that show no life any more is due now, and their hosts may be asked. Returns how many rows."""
    now = timezone.now()
    living = Heartbeat.objects.filter(at__gt=now - SILENT).values("worker")
    ended = 0
    for rows, until in (
        (Source.objects.all(), "next_at"),
        (WebPage.objects.all(), "next_at"),
        (WebHost.objects.all(), "not_before"),
    ):
        lost = rows.exclude(claimed_by="").exclude(claimed_by__in=living).filter(**{f"{until}__gt": now})
        ended += lost.update(**{until: now, "claimed_by": ""})
    return ended


def pause_after(attempts: int, every: timedelta, retry_after: float | None = None) -> timedelta:
    """How long to wait after the n-th failure: longer each time, as long as the server says, at most as usual."""
    longer: int = 2 ** min(max(attempts, 1) - 1, 20)
    pause = min(FIRST_PAUSE * longer, LONGEST_PAUSE, every)
    return max(pause, timedelta(seconds=retry_after or 0))


def crash_pause(attempts: int, every: timedelta) -> timedelta | None:
    """How long a claim is to hold after so many attempts without an end: what kills workers gets ever rarer."""
    return max(CLAIM, pause_after(attempts, every)) if attempts > MOST_ATTEMPTS else None


def end_page(page: WebPage, **fields: Any) -> bool:
    """Ends the claim of a page with these values; False if the claim was lost.

    A source that is a single page shows the same.
    """
    fields = {"attempts": 0} | fields
    mine = WebPage.objects.filter(pk=page.pk, next_at=page.next_at)
    if not mine.update(claimed_by="", **fields):
        return False
    if page.source.kind == Source.Kind.PAGE:
        Source.objects.filter(pk=page.source_id).update(**shown(fields))
    return True


def shown(fields: dict[str, Any]) -> dict[str, Any]:
    """What a source that is a single page shows of it."""
    if "error" not in fields:
        return {"next_at": fields["next_at"]}
    return {
        "next_at": fields["next_at"],
        "error": fields["error"],
        "state": Source.State.FAILED if fields["error"] else Source.State.READ,
        "last_checked_at": timezone.now(),
    }


def end_listing(source: Source, **fields: Any) -> bool:
    """Ends the claim of a sitemap or feed with these values; False if the claim was lost."""
    mine = Source.objects.filter(pk=source.pk, next_at=source.next_at)
    return bool(mine.update(claimed_by="", **({"attempts": 0} | fields)))
