"""`manage.py tune-fusion`: learns the weight of the dense arm from judged questions, where that is more than chance."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kb.core.people import acting
from kb.core.problems import Problem
from kb.quality.progress import progress_bar
from kb.quality.tuning import apply, tune_on_beir, tune_on_demo
from retrieval.beir import DatasetError, read_beir
from retrieval.tuning import Interval, Tuning


class Command(BaseCommand):
    help = (
        "Tries the weights of the fusion on judged questions, each judged on questions that did not choose it. "
        "The retrieval profile stays as it is without --apply, or where the gain may be chance."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "--beir", type=Path, metavar="DIR", help="corpus.jsonl, queries.jsonl and qrels.tsv"
        )
        what.add_argument("--questions", choices=["demo"], help="the judged questions about the demo corpus")
        parser.add_argument(
            "--apply", action="store_true", help="make the next version of the default profile"
        )
        parser.add_argument(
            "--as", dest="username", metavar="USER", help="who makes it; default: the administrator"
        )
        parser.add_argument("--json", action="store_true", help="one object on standard output")
        parser.add_argument("--no-cache", action="store_true", help="embed everything anew")

    def handle(self, *args: Any, **options: Any) -> None:
        cache = None if options["no_cache"] else settings.KB_HOME / "cache" / "vectors.sqlite"
        try:
            actor = acting(options["username"]) if options["apply"] else None
            if options["questions"]:
                name, tuning = "demo", tune_on_demo(cache, progress_bar)
            else:
                dataset = read_beir(options["beir"])
                name, tuning = dataset.name, tune_on_beir(dataset, cache, progress_bar)
            made = apply(actor, name, tuning) if options["apply"] and not tuning.refusal else None
        except (DatasetError, Problem) as error:
            raise CommandError(str(error)) from error
        said = {"dataset": name, "profile": str(made) if made else None, **asdict(tuning)}
        self.stdout.write(json.dumps(said) if options["json"] else table(name, tuning))
        if made and not options["json"]:
            self.stdout.write(f"Made the retrieval profile “{made}”, which serves from now on.")
        if options["apply"] and tuning.refusal:
            raise CommandError(f"The retrieval profile stays as it is. {tuning.refusal}")


def table(name: str, tuning: Tuning) -> str:
    lines = [f"{name}: {tuning.questions} judged questions; nDCG@10, mean and 95 % interval"]
    for weight, value in tuning.by_weight.items():
        marks = [what for what, one in (("now", tuning.current), ("best here", tuning.best)) if one == weight]
        lines.append(f"{weight:6.2f}  {interval(value)}  {', '.join(marks)}".rstrip())
    return "\n".join(
        [
            *lines,
            f"Chosen without the questions they are judged on: {', '.join(f'{w:g}' for w in tuning.fold_weights)}; "
            f"gain {tuning.gain.mean:+.4f} ({tuning.gain.low:+.4f} to {tuning.gain.high:+.4f})",
            tuning.refusal
            or f"The weight {tuning.best:g} is better than {serving(tuning)}; --apply takes it.",
        ]
    )


def serving(tuning: Tuning) -> str:
    return "reciprocal rank fusion" if tuning.current is None else f"{tuning.current:g}"


def interval(value: Interval) -> str:
    return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"
