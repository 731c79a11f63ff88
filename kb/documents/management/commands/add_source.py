"""`manage.py add_source URL --collection SLUG`: feeds a collection from a page, a sitemap or a feed."""

import json
import sys
import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kb.core.health import workers_alive
from kb.core.models import Collection, User
from kb.core.people import acting
from kb.core.problems import Problem
from kb.documents.models import Document, Source
from kb.documents.source_actions import add_source

PATIENCE_SECONDS = 60
WORKERS = ("fetch", "parse", "embed")


class Command(BaseCommand):
    help = "Feeds a collection from an address on the web: a page, a sitemap or a feed, read again and again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", metavar="URL", help="a public address, http or https")
        parser.add_argument("--collection", metavar="SLUG", required=True, help="the collection to feed")
        parser.add_argument(
            "--kind", choices=Source.Kind.values, default="", help="default: what the address looks like"
        )
        parser.add_argument(
            "--every",
            type=float,
            default=24,
            metavar="HOURS",
            help="how often to look for changes; default: 24",
        )
        parser.add_argument(
            "--when-vanished",
            choices=Source.WhenVanished.values,
            default=Source.WhenVanished.KEEP,
            help="what becomes of the document of a page that is gone; default: keep",
        )
        parser.add_argument(
            "--as", dest="username", metavar="USER", help="who adds it; default: the administrator"
        )
        parser.add_argument(
            "--wait", action="store_true", help="until everything was fetched and is ready or failed"
        )
        parser.add_argument("--json", action="store_true", help="one object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = acting(options["username"])
            source = add_source(
                actor,
                chosen(actor, options["collection"]),
                options["url"],
                kind=options["kind"],
                every=timedelta(hours=options["every"]),
                when_vanished=options["when_vanished"],
            )
        except Problem as problem:
            raise CommandError(problem.message) from problem
        if options["wait"]:
            self.wait(source)
        report = reported(source)
        self.tell(report, options["json"])
        if report["failed"]:
            sys.exit(1)

    def wait(self, source: Source) -> None:
        """Until nothing of it is at work any more; gives up where no worker shows itself."""
        last_seen = time.monotonic()
        while unfinished(source):
            if all(map(workers_alive, WORKERS)):
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > PATIENCE_SECONDS:
                raise CommandError(
                    "No worker is running, so nothing is fetched. Start one with `manage.py up`."
                )
            time.sleep(0.5)

    def tell(self, report: dict[str, Any], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
            return
        states = (
            ", ".join(f"{count} {state}" for state, count in report["states"].items()) or "no document yet"
        )
        self.stdout.write(
            f"{report['url']} ({report['kind']}) feeds {report['collection']}: {report['pages']} pages, {states}."
        )
        for failure in report["failed"]:
            self.stdout.write(f"  {failure['url']}: {failure['message']}")


def chosen(actor: User, slug: str) -> Collection:
    found = Collection.objects.visible_to(actor).filter(slug=slug).first()
    if found is None:
        raise Problem(
            "not_found",
            f"There is no collection {slug!r} that {actor} may see: make it in the library first.",
            404,
        )
    return found


def unfinished(source: Source) -> bool:
    """Whether something was never asked for yet, or is read or embedded right now."""
    source.refresh_from_db()
    listing = source.kind != Source.Kind.PAGE and source.last_checked_at is None
    never_asked = source.pages.filter(checked_at=None, error="").exists()
    return listing or never_asked or at_work(source)


def at_work(source: Source) -> bool:
    return Document.objects.filter(web_page__source=source, state__in=Document.WORK, paused=False).exists()


def reported(source: Source) -> dict[str, Any]:
    """What became of everything, for people and programs."""
    source.refresh_from_db()
    documents = Document.objects.filter(web_page__source=source)
    states = list(documents.order_by().values_list("state", flat=True))
    failed = [{"url": source.url, "message": source.error}] if source.error else []
    pages = source.pages.exclude(error="").exclude(url=source.url)
    failed += [{"url": url, "message": error} for url, error in pages.values_list("url", "error")]
    broken = documents.filter(state=Document.State.FAILED).values_list("web_page__url", "error")
    failed += [{"url": url, "message": error} for url, error in broken]
    return {
        "id": str(source.pk),
        "url": source.url,
        "kind": source.kind,
        "collection": source.collection.slug,
        "pages": source.pages.count(),
        "states": {state: states.count(state) for state in sorted(set(states))},
        "failed": failed,
    }
