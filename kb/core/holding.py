"""Keeps rows from being deleted until a transaction ends, without keeping anybody from changing or reading them."""

from collections.abc import Iterable
from typing import TypeVar

from django.db import connection
from django.db.models import Model
from psycopg import sql

Key = TypeVar("Key")


def held(model: type[Model], keys: Iterable[Key]) -> set[Key]:
    """Inside a transaction: those of `keys` whose rows exist; they stay until the commit.

    Waits for a deletion that has begun. It is the lock that a foreign key takes, but taken before the
    work: Django's foreign keys are checked at the commit only, too late for anything but an error.
    """
    statement = sql.SQL(
        "SELECT {key} FROM {table} WHERE {key} = ANY(%s) ORDER BY {key} FOR KEY SHARE"
    ).format(key=sql.Identifier(model._meta.pk.get_attname()), table=sql.Identifier(model._meta.db_table))
    with connection.cursor() as cursor:
        cursor.execute(statement, [list(keys)])
        return {key for (key,) in cursor.fetchall()}
