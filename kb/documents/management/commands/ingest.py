"""`manage.py ingest PATH…`: puts files and directories into a collection."""

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from kb.core.actions import create_collection
from kb.core.health import workers_alive
from kb.core.models import Collection, User
from kb.core.people import acting
from kb.core.problems import Problem
from kb.documents.actions import Added, add_documents, add_or_replace_document
from kb.documents.adding import checked_tags
from kb.documents.models import Document, Upload
from kb.documents.uploading import Ingestion, Tally, files

DEFAULT_NAME = "Library"
PATIENCE_SECONDS = 60
MOST_WAITING = 5000
LOOK_EVERY_SECONDS = 0.25
INTERRUPTED = 130  # as shells call what Ctrl-C ended


class Command(BaseCommand):
    help = "Puts files, and the readable files below directories, into a collection."
    requires_system_checks = []  # which take half a second: the site that runs has been through them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a directory")
        parser.add_argument(
            "--collection",
            metavar="SLUG",
            help=f"default: your own collection {DEFAULT_NAME}, made (private) when missing",
        )
        parser.add_argument(
            "--as", dest="username", metavar="USER", help="who uploads; default: the administrator"
        )
        parser.add_argument(
            "--replace",
            action="store_true",
            help="a file replaces the document of its name in the collection",
        )
        parser.add_argument(
            "--tag", action="append", default=[], metavar="TAG", help="for what is new; may be repeated"
        )
        parser.add_argument("--wait", action="store_true", help="until every document is ready or failed")
        parser.add_argument("--json", action="store_true", help="one object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = acting(options["username"])
            options["tag"] = checked_tags(options["tag"])
            collection = chosen(actor, options["collection"])
            ingestion = Ingestion(actor, collection, ", ".join(map(str, options["paths"])))
            interrupted = self.work(ingestion, options)
            ingestion.close()
        except Problem as problem:
            raise CommandError(problem.message) from problem
        report = reported(ingestion) | ({"interrupted": True} if interrupted else {})
        self.tell(report, options["json"])
        if interrupted:
            self.stderr.write(interrupted)
            sys.exit(INTERRUPTED)
        if report["failed"]:
            sys.exit(1)

    def work(self, ingestion: Ingestion, options: dict[str, Any]) -> str:
        """Everything, or what there was time for: then what to say about the rest."""
        # Counted first, for the time that remains: looking costs next to nothing beside storing.
        total = sum(1 for _ in files(options["paths"], Tally()))
        try:
            self.put_in(ingestion, options, total)
        except KeyboardInterrupt:
            return (
                f"Stopped: {ingestion.tally.seen:,} of {total:,} files are through. Run the same command again "
                "to go on: what the collection holds is recognised and passed over."
            )
        if options["wait"]:
            try:
                self.wait(ingestion)
            except KeyboardInterrupt:
                return f"All {total:,} files are put in; the workers go on without this command."
        return ""

    def put_in(self, ingestion: Ingestion, options: dict[str, Any], total: int) -> None:
        def put(files: Sequence[File[bytes]], upload: Upload) -> list[Added | Problem]:
            actor, collection, tags = ingestion.actor, ingestion.collection, options["tag"]
            if options["replace"]:
                return [replaced(actor, collection, file, upload, tags) for file in files]
            return add_documents(actor, collection, [(file, None) for file in files], upload, tags=tags)

        paths, look_first = files(options["paths"], ingestion.tally), not options["replace"]
        room = most_waiting() - ingestion.at_work()
        with tqdm(total=total, desc="Putting in", unit="file", file=sys.stderr, disable=None) as bar:
            for added in ingestion.put_in(paths, put, look_first=look_first):
                bar.update(ingestion.tally.seen - bar.n)
                room -= added
                if room <= 0:
                    room = self.until_there_is_room(ingestion, bar)

    def until_there_is_room(self, ingestion: Ingestion, bar: "tqdm[Any]") -> int:
        """Waits until a fifth of what may wait is done; returns for how many documents there is room then."""
        told = False
        waiting = ingestion.at_work()
        patience = Patience()
        while waiting > 0.8 * most_waiting():
            if not told and not bar.disable:
                bar.write(
                    f"{waiting:,} documents wait to be read and embedded: going on when there are fewer."
                )
                told = True
            patience.look(
                f"No worker is running; {waiting:,} documents wait, and the other files are not put in yet. "
                "Start one with `manage.py up`, then run the same command again."
            )
            time.sleep(LOOK_EVERY_SECONDS)
            waiting = ingestion.at_work()
        return most_waiting() - waiting

    def wait(self, ingestion: Ingestion) -> None:
        """Until nothing is at work any more; gives up where no worker shows itself."""
        total, patience = ingestion.at_work(), Patience()
        with tqdm(total=total, desc="Working off", unit="document", file=sys.stderr, disable=None) as bar:
            while left := ingestion.at_work():
                bar.update(max(total - left - bar.n, 0))
                patience.look(
                    f"No worker is running; {left} documents stay in the queue. Start one with `manage.py up`."
                )
                time.sleep(LOOK_EVERY_SECONDS)
            bar.update(total - bar.n)

    def tell(self, report: dict[str, Any], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
            return
        states = ", ".join(f"{count} {state}" for state, count in report["states"].items()) or "nothing new"
        refused = report["failures"] - report["states"].get("failed", 0)
        left_out = f"{report['skipped']} skipped" + (f", {refused} refused" if refused else "")
        self.stdout.write(f"{report['collection']}: {states}; {report['known']} were known, {left_out}.")
        if set(report["states"]) & set(Document.WORK):
            self.stdout.write(f"`manage.py work show --upload {report['upload']}` tells how far they are.")
        for failure in report["failed"]:
            self.stdout.write(f"  {failure['path']}: {failure['message']}")
        if report["failures"] > len(report["failed"]):
            self.stdout.write(f"  … and {report['failures'] - len(report['failed'])} more.")


def most_waiting() -> int:
    """So many documents of the upload wait before the command waits as well."""
    return min(MOST_WAITING, settings.MOST_WAITING)


def replaced(
    actor: User, collection: Collection, file: File[bytes], upload: Upload, tags: list[str]
) -> Added | Problem:
    try:
        return add_or_replace_document(actor, collection, file, upload=upload, tags=tags)
    except Problem as problem:
        return problem


class Patience:
    """Bears it for a while that no worker is to be seen, then raises CommandError."""

    def __init__(
        self, seen: Callable[[], bool] = lambda: workers_alive("parse") and workers_alive("embed")
    ) -> None:
        self.seen = seen
        self.last_seen = time.monotonic()

    def look(self, complaint: str) -> None:
        if self.seen():
            self.last_seen = time.monotonic()
        elif time.monotonic() - self.last_seen > PATIENCE_SECONDS:
            raise CommandError(complaint)


def chosen(actor: User, slug: str | None) -> Collection:
    """The named collection, or the default one, which is made at first use."""
    visible = Collection.objects.visible_to(actor)
    # The default is one's own: a collection that somebody else called so is not meant.
    found = (
        visible.filter(slug=slug).first() if slug else visible.filter(name=DEFAULT_NAME, owner=actor).first()
    )
    if found is not None:
        return found
    if slug:
        raise Problem(
            "not_found",
            f"There is no collection {slug!r} that {actor} may see: make it first, in the browser under Library, "
            "or leave --collection out to use your own.",
            404,
        )
    return create_collection(actor, DEFAULT_NAME)


def reported(ingestion: Ingestion) -> dict[str, Any]:
    """What became of everything, for people and programs."""
    tally, states = ingestion.tally, ingestion.states()
    refused = [{"path": str(path), "code": code, "message": message} for path, code, message in tally.refused]
    failed = [
        {"path": document.filename, "code": document.error_code, "message": document.error}
        for document in ingestion.failed()
    ]
    return {
        "collection": ingestion.collection.slug,
        "upload": str(ingestion.upload.pk) if ingestion.upload else None,
        "documents": tally.put + tally.known,
        "states": states,
        "known": tally.known,
        "skipped": tally.skipped,
        "failed": refused + failed,
        "failures": tally.refusals + states.get("failed", 0),
    }
