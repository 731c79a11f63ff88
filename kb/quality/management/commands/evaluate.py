"""`manage.py evaluate`: scores retrieval on a labelled collection, or on the demo questions."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kb.core.problems import Problem
from kb.quality.datasets import sampled
from kb.quality.evaluation import evaluate_beir, evaluate_demo
from kb.quality.progress import progress_bar
from retrieval.beir import DatasetError, read_beir

COLUMNS = ("ndcg@10", "recall@5", "recall@10", "recall@100", "mrr@10", "p50_ms", "p95_ms")


class Command(BaseCommand):
    help = "Ingests a labelled collection into a scratch database and scores each arm; leaves nothing behind."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "--beir", type=Path, metavar="DIR", help="corpus.jsonl, queries.jsonl and qrels.tsv"
        )
        what.add_argument("--questions", choices=["demo"], help="the judged questions about the demo corpus")
        parser.add_argument("--limit", type=int, metavar="N", help="only N queries, with seeded distractors")
        parser.add_argument("--json", action="store_true", help="one object on standard output")
        parser.add_argument("--no-cache", action="store_true", help="embed everything anew")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["questions"] and options["limit"]:
            raise CommandError("--limit goes with --beir: the demo questions are always asked all.")
        cache = None if options["no_cache"] else settings.KB_HOME / "cache" / "vectors.sqlite"
        try:
            if options["questions"]:
                report = evaluate_demo(cache, progress_bar)
            else:
                dataset = read_beir(options["beir"])
                dataset = sampled(dataset, options["limit"]) if options["limit"] else dataset
                report = evaluate_beir(dataset, cache, progress_bar)
        except (DatasetError, Problem) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(report) if options["json"] else table(report))


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['dataset']}: {report['documents']} documents, {report['chunks']} chunks, "
        f"{report['queries']} queries; profile {report['profile']}",
        f"{'':18}" + "".join(f"{column:>12}" for column in COLUMNS),
    ]
    for arm, values in report["arms"].items():
        lines.append(f"{arm:18}" + "".join(f"{values[column]:>12}" for column in COLUMNS))
    lines.append(
        f"By words, nDCG@10 is {report['lexical_difference']:+.4f} beside an independent BM25 on the same terms."
    )
    if declined := report.get("declining"):
        held = declined["held_out"]
        lines.append(
            f"Declined, held-out half at threshold {declined['threshold']}: {held['unanswerable_declined']} of "
            f"{held['unanswerable']} unanswerable, {held['answerable_declined']} of {held['answerable']} answerable"
        )
    return "\n".join(lines)
