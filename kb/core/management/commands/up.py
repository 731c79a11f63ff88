"""Starts everything on one machine and looks after it until Ctrl-C."""

import os
import signal
import sys
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kb.core import supervising
from kb.core.supervision.lock import AlreadyRunning
from kb.core.supervision.preflight import CannotStart


def report(text: str) -> None:
    """One line per event: the time and what happened."""
    try:
        sys.stdout.write(f"{datetime.now().astimezone():%H:%M:%S}  {text}\n")
        sys.stdout.flush()
    except OSError:
        # The terminal is gone. What remains to be done (stopping in order) matters more than saying so.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (stays open for the rest of the process)


class Command(BaseCommand):
    help = "Starts database, broker, web and workers in one foreground process; Ctrl-C stops them all."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="the address to listen on (HOST)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="the port to listen on (PORT)")
        parser.add_argument("--no-demo", action="store_true", help="begin with an empty library")

    def handle(self, *_: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        if not 1 <= port <= 65535:
            raise CommandError(f"--port is {port}: choose one from 1 to 65535.")
        # The children read the environment: addresses in mails and invitations must be the real ones.
        os.environ["HOST"], os.environ["PORT"] = host, str(port)
        site = supervising.Site(
            home=settings.KB_HOME,
            host=host,
            port=port,
            embedded_postgres=not settings.DATABASE_URL,
            embedded_valkey=not settings.REDIS_URL,
            parse_workers=settings.PARSE_WORKERS,
            fetch_threads=settings.FETCH_THREADS,
            parse_seconds=2 * settings.PARSE_SECONDS,
            demo=not options["no_demo"],
        )
        try:
            supervising.run(site, report)
        except (CannotStart, AlreadyRunning) as error:
            sys.exit(f"Footnote: {error}")
        finally:
            # Everything is stopped: an impatient last Ctrl-C must not turn a good end into a bad one.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
