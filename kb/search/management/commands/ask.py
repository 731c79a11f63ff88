"""`manage.py ask "…"`: an answer with its footnotes."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kb.core.people import acting
from kb.core.problems import Problem
from kb.search.answers import Completed, ShownAnswer, Started, ask, shown_to
from kb.search.models import Answer
from kb.search.warming import warm
from retrieval.answering import TextDelta

DECLINED = "The documents do not answer this."


class Command(BaseCommand):
    help = "Answers a question from what a user may see, with footnotes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("text", help="the question")
        parser.add_argument(
            "--as", dest="username", metavar="USER", help="whose eyes; default: the administrator's"
        )
        parser.add_argument(
            "--collection", action="append", metavar="SLUG", help="only there; may be repeated"
        )
        parser.add_argument("--json", action="store_true", help="one object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = acting(options["username"])
            warm()  # the deadline of a question is not for loading the model of this process
            for event in ask(user, options["text"], options["collection"]):
                self.take(event, options["json"], user)
        except Problem as problem:
            raise CommandError(problem.message) from problem

    def take(self, event: object, as_json: bool, user: Any) -> None:
        match event:
            case Started(results) if results.degraded and not as_json:
                self.stdout.write(results.degraded)
            case TextDelta(text) if not as_json:
                self.stdout.write(text, ending="")
            case Completed(answer, closest):
                shown = shown_to(user, answer)
                titles = [passage.title for passage in closest]
                self.stdout.write(report(shown, titles) if as_json else footnotes(shown, titles))
                if answer.state == Answer.State.FAILED:
                    raise CommandError(answer.error)


def report(shown: ShownAnswer, closest: list[str]) -> str:
    citations = [
        {
            "marker": citation.marker,
            "document_id": str(citation.document_id),
            "revision": citation.revision,
            "title": citation.title,
            "page": citation.page,
            "start": citation.start,
            "end": citation.end,
            "quote": citation.quote,
        }
        for citation in shown.citations
        if citation.visible
    ]
    return json.dumps(
        {
            "answer_id": str(shown.id),
            "state": shown.state,
            "text": shown.text,
            "citations": citations,
            "closest": closest,
            "model": shown.model,
            "version": shown.version,
            "error": shown.error,
        },
        ensure_ascii=False,
    )


def footnotes(shown: ShownAnswer, closest: list[str]) -> str:
    if shown.state == Answer.State.DECLINED:
        nearest = f" Closest: {'; '.join(dict.fromkeys(closest))}." if closest else ""
        return " ".join(filter(None, [DECLINED, shown.error])) + nearest
    lines = ["", ""]
    for citation in shown.citations:
        page = f", p. {citation.page}" if citation.page else ""
        lines.append(f"[{citation.marker}] {citation.title}{page}: “{' '.join(citation.quote.split())}”")
    return "\n".join(lines)
