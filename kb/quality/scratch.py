"""What one evaluation writes to, gone afterwards; leftovers of killed runs are swept."""

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator

import psycopg
from celery import current_app
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test.utils import override_settings
from psycopg import sql

from kb.core import pools

OWN_CACHE = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
# A run holds this lock on its database's name for as long as it lives.
HOLD = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """Inside the block all that Django reads and writes is in a database, a folder and a cache made for it."""
    home_name, broker = connection.settings_dict["NAME"], current_app.conf.broker_url
    with database() as name, tempfile.TemporaryDirectory(prefix="footnote-evaluation-") as folder:
        switch(name)
        # The work is called in-process; messages to workers go nowhere.
        current_app.conf.broker_url = "memory://localhost/"
        try:
            with override_settings(
                MEDIA_ROOT=folder,
                CACHES={alias: OWN_CACHE | {"LOCATION": alias + name} for alias in settings.CACHES},
            ):
                call_command("migrate", verbosity=0)
                yield
        finally:
            current_app.conf.broker_url = broker
            switch(home_name)


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Creates a database and drops it at the end, as well as those that no living run holds; gives its name."""
    with psycopg.connect(**pools.parameters(), autocommit=True) as keeper:
        name = f"{prefix(keeper)}{os.getpid()}_{secrets.token_hex(4)}"
        keeper.execute(HOLD, [name])
        sweep(keeper)
        keeper.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            drop(keeper, name)


def prefix(keeper: psycopg.Connection) -> str:
    """How the databases of runs begin that were started from the keeper's own.

    A lock is known in the database where it was taken alone: runs started from another database of the
    same server could not be told from dead ones.
    """
    return f"footnote_evaluation_{hashlib.sha256(keeper.info.dbname.encode()).hexdigest()[:8]}_"


def sweep(keeper: psycopg.Connection) -> list[str]:
    """Drops the databases that killed runs left; returns their names."""
    found = keeper.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix(keeper)]
    ).fetchall()
    left = []
    for (name,) in found:
        (free,) = keeper.execute(HOLD, [name]).fetchone() or (False,)
        if free:
            drop(keeper, name)
            left.append(name)
    return left


def drop(keeper: psycopg.Connection, name: str) -> None:
    keeper.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def switch(name: str) -> None:
    """Makes `name` the database of this process, for Django and for the search arms."""
    pools.close()
    connection.close()
    connection.settings_dict["NAME"] = name
