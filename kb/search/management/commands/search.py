"""`manage.py search "…"`: the passages that a question finds."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kb.core.people import acting
from kb.core.problems import Problem
from kb.search.engine import Results, search
from kb.search.warming import warm

SHOWN_CHARACTERS = 300
EMPTY = {
    "no_collections": "There is no collection that this user may see.",
    "no_documents": "There are no documents yet: add some with `manage.py ingest PATH`.",
    "": "Nothing was found.",
}


class Command(BaseCommand):
    help = "Searches what a user may see."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("text", help="a question, or words to look for")
        parser.add_argument(
            "--as", dest="username", metavar="USER", help="whose eyes; default: the administrator's"
        )
        parser.add_argument(
            "--collection", action="append", metavar="SLUG", help="only there; may be repeated"
        )
        parser.add_argument(
            "--limit", type=int, default=10, metavar="NUMBER", help="passages at most; default: 10"
        )
        parser.add_argument("--profile", default="", metavar="NAME", help="a retrieval profile to try")
        parser.add_argument("--as-typed", action="store_true", help="correct no spelling")
        parser.add_argument("--explain", action="store_true", help="say why each passage stands there")
        parser.add_argument("--json", action="store_true", help="one object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = acting(options["username"])
            warm()  # the deadline of a question is not for loading the model of this process
            results = search(
                user,
                options["text"],
                options["collection"],
                options["limit"],
                profile=options["profile"],
                explain=options["explain"],
                as_typed=options["as_typed"],
            )
        except Problem as problem:
            raise CommandError(problem.message) from problem
        self.stdout.write(as_json(results) if options["json"] else as_text(results))


def as_json(results: Results) -> str:
    passages = [
        {
            "document_id": passage.document_id,
            "chunk_id": passage.chunk_id,
            "chunk_ids": passage.chunk_ids,
            "title": passage.title,
            "heading_path": passage.heading_path,
            "page": passage.page,
            "start": passage.start,
            "text": passage.text,
            "score": passage.score,
            "dense_score": passage.dense_score,
            "lexical_score": passage.lexical_score,
            "duplicates": [asdict(one) for one in passage.duplicates],
            "explanation": asdict(passage.explanation) if passage.explanation else None,
        }
        for passage in results.passages
    ]
    return json.dumps(
        {
            "query_id": str(results.query.pk),
            "version": results.version,
            "profile": str(results.query.profile or ""),
            "words": results.words,
            "corrections": [asdict(one) for one in results.corrections],
            "degraded": results.degraded,
            "notes": results.notes,
            "stages_ms": results.query.stages,
            "passages": passages,
        },
        ensure_ascii=False,
    )


def as_text(results: Results) -> str:
    lines = [line for line in (results.degraded, *results.notes) if line]
    lines += [f"No passage has “{one.typed}”: searched for “{one.meant}”." for one in results.corrections]
    for rank, passage in enumerate(results.passages, 1):
        place = " › ".join([passage.title, *passage.heading_path]) + (
            f", p. {passage.page}" if passage.page else ""
        )
        lines += [
            f"{rank}. {place}  ({passage.score:.3f})",
            "   " + " ".join(passage.text.split())[:SHOWN_CHARACTERS],
            *([f"   (and {len(passage.duplicates)} that say the same)"] if passage.duplicates else []),
            *([f"   {passage.explanation.sentence}"] if passage.explanation else []),
            "",
        ]
    if not results.passages:
        lines.append(EMPTY[results.empty_because])
    return "\n".join(lines).rstrip()
