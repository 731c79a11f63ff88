"""`manage.py ingest PATH…`: puts files and directories into a collection."""

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from kb.core.actions import create_collection
from kb.core.health import workers_alive
from kb.core.models import Collection, User
from kb.core.people import acting
from kb.core.problems import Problem
from kb.documents.actions import Added, add_document, add_or_replace_document
from kb.documents.models import Document
from kb.documents.uploading import Tally, files, unfinished

DEFAULT_NAME = "Library"
PATIENCE_SECONDS = 60


class Command(BaseCommand):
    help = "Puts files, and the readable files below directories, into a collection."

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
        parser.add_argument("--wait", action="store_true", help="until every document is ready or failed")
        parser.add_argument("--json", action="store_true", help="one object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = acting(options["username"])
            collection = chosen(actor, options["collection"])
            put = add_or_replace_document if options["replace"] else add_document
            tally = self.upload(partial(put, actor, collection), options["paths"])
            if options["wait"]:
                self.wait(tally)
        except Problem as problem:
            raise CommandError(problem.message) from problem
        report = reported(tally, collection)
        self.tell(report, options["json"])
        if report["failed"]:
            sys.exit(1)

    def upload(self, put: Callable[[File[bytes]], Added], paths: list[Path]) -> Tally:
        tally = Tally()
        for path in tqdm(files(paths, tally), desc="Uploading", unit="file", file=sys.stderr, disable=None):
            try:
                with path.open("rb") as opened:
                    added = put(File(opened, name=path.name))
            except Problem as problem:
                tally.refused.append((path, problem.code, problem.message))
            except OSError as error:
                tally.refused.append((path, "unreadable", f"{path} cannot be read: {error.strerror}."))
            else:
                tally.known += not added.created
                tally.documents[added.document.pk] = path
        return tally

    def wait(self, tally: Tally) -> None:
        """Until nothing is at work any more; gives up where no worker shows itself."""
        total, last_seen = len(tally.documents), time.monotonic()
        with tqdm(total=total, desc="Working off", unit="document", file=sys.stderr, disable=None) as bar:
            while left := unfinished(tally.documents):
                bar.update(total - left - bar.n)
                if workers_alive("parse") and workers_alive("embed"):
                    last_seen = time.monotonic()
                elif time.monotonic() - last_seen > PATIENCE_SECONDS:
                    raise CommandError(
                        f"No worker is running; {left} documents stay in the queue. Start one with `manage.py up`."
                    )
                time.sleep(0.5)
            bar.update(total - bar.n)

    def tell(self, report: dict[str, Any], as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(report, ensure_ascii=False))
            return
        states = ", ".join(f"{count} {state}" for state, count in report["states"].items()) or "no document"
        self.stdout.write(
            f"{report['collection']}: {states}; {report['known']} were known, {report['skipped']} skipped."
        )
        for failure in report["failed"]:
            self.stdout.write(f"  {failure['path']}: {failure['message']}")


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
            f"There is no collection {slug!r} that {actor} may see: make it in the library first.",
            404,
        )
    return create_collection(actor, DEFAULT_NAME)


def reported(tally: Tally, collection: Collection) -> dict[str, Any]:
    """What became of everything, for people and programs."""
    documents = list(
        Document.objects.filter(pk__in=tally.documents).only("pk", "state", "error", "error_code")
    )
    states = [document.state for document in documents]
    failed = [
        {"path": str(tally.documents[document.pk]), "code": document.error_code, "message": document.error}
        for document in documents
        if document.state == Document.State.FAILED
    ]
    refused = [{"path": str(path), "code": code, "message": message} for path, code, message in tally.refused]
    return {
        "collection": collection.slug,
        "documents": len(documents),
        "states": {state: states.count(state) for state in sorted(set(states))},
        "known": tally.known,
        "skipped": tally.skipped,
        "failed": refused + failed,
    }
