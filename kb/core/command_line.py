"""Runs one management command, with the embedded database up around it where it needs one."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor

from kb.core import environment
from kb.core.embedded.lease import postgres_lease
from kb.core.embedded.postgres import EmbeddedServiceError

# `up` looks after the services itself; these others read no data.
WITHOUT_DATABASE = {"up", "help", "version", "check", "collectstatic", "diffsettings", "openapi"}


def run(argv: list[str]) -> None:
    """Exits with a sentence where the environment, not the command, is at fault."""
    try:
        if needs_embedded_database(argv):
            with postgres_lease(environment.home()):
                execute(argv)
        else:
            execute(argv)
    except (environment.BadConfiguration, EmbeddedServiceError) as error:
        sys.exit(f"Footnote: {error}")


def execute(argv: list[str]) -> None:
    try:
        execute_from_command_line(argv)
    except ProgrammingError:
        if not migrations_wait():
            raise
        sys.exit(
            "Footnote: The database is not prepared for this version: run `manage.py prepare`, then this again. "
            "`manage.py up` prepares it by itself."
        )


def migrations_wait() -> bool:
    """Whether something is still to be done to the database before this version can use it."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def needs_embedded_database(argv: list[str]) -> bool:
    asks_for_help = len(argv) < 2 or bool({"-h", "--help", "--version"} & set(argv))
    return not (asks_for_help or argv[1] in WITHOUT_DATABASE or os.environ.get("DATABASE_URL"))
