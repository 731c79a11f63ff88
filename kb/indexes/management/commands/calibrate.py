"""`manage.py calibrate`: shows which backend runs each local model on this machine, and measures where asked."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kb.indexes import calibrating
from kb.indexes.models import Calibration


class Command(BaseCommand):
    help = (
        "Shows what each backend was measured to do with the embedding model on this machine, and which one was "
        "chosen. Measures where that is not known yet, in about 20 seconds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--again", action="store_true", help="measure anew: run it while nothing else works"
        )
        parser.add_argument("--json", action="store_true", help="a list on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        models = calibrating.local_models()
        if not models:
            raise CommandError("No index uses a model on this machine: there is nothing to calibrate.")
        try:
            kept = [calibrating.calibrate(model, bool, again=options["again"]) for model in models]
        except calibrating.CalibrationFailed as error:
            raise CommandError(f"No backend can run the model: {error}") from error
        if options["json"]:
            self.stdout.write(json.dumps([as_json(one) for one in kept]))
        else:
            self.stdout.write("\n\n".join(as_text(one) for one in kept))


def as_json(kept: Calibration) -> dict[str, Any]:
    return {
        "model": kept.model.name,
        "machine": kept.machine,
        "described": kept.described,
        "backend": kept.backend,
        "number_format": kept.number_format,
        "batch_size": kept.batch_size,
        "measured": kept.measured,
        "made": kept.created_at.isoformat(),
    }


def as_text(kept: Calibration) -> str:
    """A table with one backend a line."""
    lines = [
        f"{kept.model} on {kept.described}, measured {kept.created_at:%Y-%m-%d %H:%M} UTC",
        f"{'backend':24}{'chunks/s':>10}{'batch':>7}{'cosine':>10}  verdict",
    ]
    for row in kept.measured:
        size, rate = max(row["rates"].items(), key=lambda pair: pair[1], default=("–", 0))
        cosine = "–" if row["cosine"] is None else f"{row['cosine']:.5f}"
        name = f"{row['backend']}, {row['number_format']}"
        lines.append(f"{name:24}{rate:>10.1f}{size:>7}{cosine:>10}  {row['verdict']}")
    return "\n".join(lines)
