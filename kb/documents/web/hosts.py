"""Keeps the pace that web servers want, together with all other workers: one request a host at a time."""

from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType

from django.utils import timezone

from kb.core.beating import beat, worker_name
from kb.documents.models import WebHost
from kb.documents.web import robots
from kb.documents.web.addresses import WebAddress
from kb.documents.web.fetching import Fetcher
from kb.documents.web.outcomes import Failed, Later, Outcome, Refused

# Longer than robots.txt and a page may take together. That of a dead worker is ended by the sweep.
TURN_SECONDS = 300.0
SOON_SECONDS = 10.0


class Visit(AbstractContextManager["Visit"]):
    """The hosts that one fetch asks, redirects included; each is left alone for a while afterwards.

    `may_ask` is the fetcher's question before each request. No transaction is open meanwhile, nobody waits.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher
        self.hosts: dict[str, WebHost] = {}
        self.peace: dict[str, float] = {}

    def may_ask(self, asked: WebAddress) -> Refused | Failed | Later | None:
        """Takes the host's turn and heeds its robots.txt."""
        beat("fetch")  # threads that all wait for slow servers are alive
        host = self.hosts.get(asked.origin) or take_turn(asked.origin)
        if isinstance(host, Later):
            return host
        self.hosts[asked.origin] = host
        if obstacle := self.learn(host, asked):
            return obstacle
        if not robots.allows(host.robots, asked):
            return Refused(
                "robots", f"The robots.txt of {asked.host} asks programs not to read this address."
            )
        return None

    def learn(self, host: WebHost, asked: WebAddress) -> Later | None:
        """Reads robots.txt unless it is known well enough; Later where that cannot be done now."""
        if host.robots_until is not None and host.robots_until > timezone.now():
            return None
        found = robots.rules(
            self.fetcher.fetch(f"{asked.origin}/robots.txt", most_bytes=robots.MOST_BYTES), asked.host
        )
        if isinstance(found, robots.Wait):
            self.peace[asked.origin] = found.seconds
            return Later(found.seconds, found.reason)
        host.robots, host.robots_until = found.text, timezone.now() + timedelta(seconds=found.seconds)
        host.save(update_fields=["robots", "robots_until"])
        return None

    def heed(self, found: Outcome) -> None:
        """A server that names a time to come back means all of its pages."""
        beat("fetch")
        if isinstance(found, Failed) and found.retry_after:
            for origin in self.hosts:
                self.peace[origin] = found.retry_after

    def delay(self, origin: str) -> float:
        """The seconds until the host may be asked again."""
        host = self.hosts.get(origin)
        return max(robots.delay(host.robots) if host else robots.LEAST_DELAY, self.peace.get(origin, 0.0))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for origin, host in self.hosts.items():
            end_turn(host, self.delay(origin))


def take_turn(origin: str) -> WebHost | Later:
    """The host, if it may be asked now; nobody else may then, until the turn ends. One UPDATE decides."""
    now = timezone.now()
    until = now + timedelta(seconds=TURN_SECONDS)
    WebHost.objects.get_or_create(origin=origin, defaults={"not_before": now})
    if WebHost.objects.filter(origin=origin, not_before__lte=now).update(
        not_before=until, claimed_by=worker_name("fetch")
    ):
        return WebHost.objects.get(origin=origin)
    busy = WebHost.objects.filter(origin=origin).values_list("not_before", flat=True).first() or now
    wait = (busy - now).total_seconds()
    # Within a turn's length it is probably somebody's turn, which will end much sooner.
    return Later(max(wait if wait > TURN_SECONDS else min(wait, SOON_SECONDS), robots.LEAST_DELAY))


def end_turn(host: WebHost, delay: float) -> None:
    """The next request may come after the delay."""
    after = timezone.now() + timedelta(seconds=delay)
    WebHost.objects.filter(pk=host.pk, not_before=host.not_before).update(not_before=after, claimed_by="")
