"""`manage.py index …`: the life of index versions, one subcommand for each thing that may be done with them."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kb.core.problems import Problem
from kb.indexes import commands as versions
from kb.indexes import index_commands as indexes
from kb.indexes import model_commands as models
from kb.quality import commands

# Each adds its subcommands to the parser's. A subcommand sets the default `run`, a function that is called with
# the options and with `say(value, text)`, which prints the value as JSON or the text; --json is there for all.
# A version is named as kb.indexes.naming has it. A Problem becomes a sentence and an exit status of 1.
REGISTRY: tuple[Callable[[Any], None], ...] = (versions.add, indexes.add, models.add, commands.add)


class Command(BaseCommand):
    help = "Builds, checks, rolls out and takes back versions of an index."

    def add_arguments(self, parser: ArgumentParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for add in REGISTRY:
            add(subparsers)
        for each in subparsers.choices.values():
            each.add_argument("--json", action="store_true", help="one object on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        def say(value: Any, text: str) -> None:
            self.stdout.write(json.dumps(value, default=str) if options["json"] else text)

        try:
            options["run"](options, say)
        except Problem as problem:
            raise CommandError(problem.message) from problem
