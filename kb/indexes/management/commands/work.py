"""`manage.py work …`: shows and steers the work on an upload, a collection or a document."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeAlias
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from kb.core.models import Collection, User
from kb.core.people import acting
from kb.core.problems import Problem, not_found
from kb.core.templatetags.footnote import percent, rate, remaining
from kb.documents import actions, failures
from kb.documents.actions import Scope, within
from kb.documents.models import Document, Upload
from kb.indexes.progress import Overall, overall

Verb: TypeAlias = Callable[[User, Any], object]


def reparse(actor: User, scope: Scope) -> int:
    if isinstance(scope, Document):
        actions.reparse_document(actor, scope)
        return 1
    return actions.reparse(actor, scope)


VERBS: dict[str, tuple[Verb, str, str]] = {
    "pause": (actions.pause, "Paused", "let the work wait until it is resumed"),
    "resume": (actions.resume, "Resumed", "let paused work go on"),
    "cancel": (actions.cancel, "Cancelled", "end the work that is not done; the files are kept"),
    "retry": (actions.retry_failed, "Taken up again", "take up what failed or was cancelled"),
    "reparse": (reparse, "To be parsed again", "read the stored files of what is ready once more"),
}


class Command(BaseCommand):
    help = "Shows how far an upload, a collection or a document is; pauses, resumes, cancels, retries, re-parses it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        subparsers = parser.add_subparsers(required=True, metavar="show|pause|resume|cancel|retry|reparse")
        showing = subparsers.add_parser("show", help="how far it is, and what failed for which cause")
        add_scope(showing)
        showing.set_defaults(verb="show")
        for verb, (_, _, text) in VERBS.items():
            steering = subparsers.add_parser(verb, help=text)
            add_scope(steering)
            if verb == "retry":
                steering.add_argument(
                    "--cause", default="", metavar="CODE", help="only what failed with this code"
                )
            steering.set_defaults(verb=verb)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            actor = acting(options["username"])
            scope = chosen(actor, options)
            if options["verb"] == "show":
                self.show(scope, options["json"])
            else:
                self.steer(actor, scope, options)
        except Problem as problem:
            raise CommandError(problem.message) from problem

    def show(self, scope: Scope, as_json: bool) -> None:
        far, groups = overall(within(scope)), failures.groups(within(scope))
        if as_json:
            causes = [{"code": group.code, "count": group.count, "remedy": group.remedy} for group in groups]
            self.stdout.write(json.dumps({"name": str(scope), **asdict(far), "failures": causes}))
            return
        self.stdout.write(f"{scope}: {described(far)}.")
        for group in groups:
            self.stdout.write(f"  {group.count:,} failed ({group.code}): {group.title}. {group.remedy}")

    def steer(self, actor: User, scope: Scope, options: dict[str, Any]) -> None:
        action, done, _ = VERBS[options["verb"]]
        more = {"cause": options["cause"]} if options.get("cause") else {}
        count = action(actor, scope, **more)
        if options["json"]:
            self.stdout.write(json.dumps({"documents": count}))
        else:
            self.stdout.write(f"{done}: {count} document{'' if count == 1 else 's'} of {scope}.")


def add_scope(parser: ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group(required=True)
    scope.add_argument("--upload", type=UUID, metavar="ID", help="as `manage.py ingest` tells it")
    scope.add_argument("--collection", metavar="SLUG")
    scope.add_argument("--document", type=UUID, metavar="ID")
    parser.add_argument(
        "--as", dest="username", metavar="USER", help="whose rights count; default: the administrator's"
    )
    parser.add_argument("--json", action="store_true", help="one object on standard output")


def chosen(actor: User, options: dict[str, Any]) -> Scope:
    """What the arguments name. Raises Problem where the person may not know of it."""
    found: Scope | None
    if options["upload"]:
        found = (
            Upload.objects.visible_to(actor).select_related("collection").filter(pk=options["upload"]).first()
        )
        kind = "upload"
    elif options["document"]:
        documents = Document.objects.visible_to(actor).select_related("collection")
        found = documents.filter(pk=options["document"]).first()
        kind = "document"
    else:
        found = Collection.objects.visible_to(actor).filter(slug=options["collection"]).first()
        kind = "collection"
    if found is None:
        raise not_found(kind)
    return found


def described(far: Overall) -> str:
    """The figures that a page shows, in one line."""
    states = ", ".join(f"{count:,} {state}" for state, count in far.states.items() if count)
    parts = [f"{far.documents:,} documents" + (f" ({states})" if states else "")]
    if far.paused:
        parts.append(f"{far.paused:,} paused")
    if far.finished + far.failed + far.states["cancelled"] == far.documents:
        return ", ".join(parts)
    parts.append(f"{percent(far.fraction)}, {far.chunks_done:,} of {far.chunks_total:,} passages")
    parts.append(f"{rate(far.rate)} passages/s, {rate(far.parse_rate)} documents/s")
    if far.documents_ahead or far.ahead:
        parts.append(f"{far.documents_ahead:,} documents and {far.ahead:,} passages of others come first")
    if far.seconds_left is not None:
        parts.append(f"{remaining(far.seconds_left)} left")
    return "; ".join(parts)
