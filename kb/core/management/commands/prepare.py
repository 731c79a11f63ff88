"""Brings database, static files and accounts to where the site can run; safe to run twice at once."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, OperationalError, connection

from kb.core import preparing


class Command(BaseCommand):
    help = "Migrates, collects static files, makes the first index and administrator; may be run again."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--skip-static", action="store_true", help="leave the static files as they are")

    def handle(self, *_: Any, **options: Any) -> None:
        """Says on standard output only what a person has to read; progress goes to standard error."""
        self.connect()
        with preparing.alone():
            self.migrate()
            self.make_administrator()
            call_command("ensure_index", stdout=self.stderr)
            if not (options["skip_static"] or settings.DEBUG or preparing.static_is_current()):
                call_command("collectstatic", interactive=False, verbosity=0)
                preparing.collected().write_text(preparing.static_sources())

    def make_administrator(self) -> None:
        if login := preparing.first_administrator():
            self.stdout.write(
                f"Sign in as {login.username} with the password {login.password} (it is shown only this once)"
            )

    def connect(self) -> None:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"cannot reach the database (DATABASE_URL): {reason}") from error

    def migrate(self) -> None:
        try:
            call_command("migrate", interactive=False, stdout=self.stderr)
        except Error as error:
            if sentence := preparing.extension_refusal(error):
                raise CommandError(sentence) from error
            raise
        if sentence := preparing.old_extension(preparing.pgvector_version()):
            raise CommandError(sentence)
