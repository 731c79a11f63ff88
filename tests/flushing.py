"""Empties the database after a test that committed, but for what Django itself would write into it again at once."""

from collections.abc import Sequence
from typing import Any

from django.core.management.commands import flush
from django.db.backends.postgresql.operations import DatabaseOperations

# Truncating makes new files for each table and its indexes. Where a table has grown, that is what is wanted, since what
# was deleted stays in the way; and no table can be truncated without those that refer to it.
FLUSH = """
DO $$
DECLARE
    name text;
    filled boolean;
BEGIN
    IF (SELECT max(pg_relation_size(format('%I', given)::regclass)) FROM unnest({tables}) AS given) > 65536 THEN
        {truncate}
        RETURN;
    END IF;
    SET LOCAL session_replication_role = replica;
    FOREACH name IN ARRAY {tables} LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO filled;
        IF filled THEN
            EXECUTE format('DELETE FROM %I', name);
        END IF;
    END LOOP;
END $$
"""

KEPT = {"auth_permission", "django_content_type"}

truncating = DatabaseOperations.sql_flush


def sql_flush(operations: DatabaseOperations, style: Any, tables: Sequence[str], **how: Any) -> list[str]:
    emptied = [table for table in tables if table not in KEPT]
    statements = truncating(operations, style, emptied, **how)
    named = ", ".join(f"'{table}'" for table in emptied)
    return [FLUSH.format(tables=f"ARRAY[{named}]", truncate="\n".join(statements))]


def write_nothing(*_: Any, **__: Any) -> None:
    """In place of Django's signal, whose receivers look for each permission and content type: they are there."""


def empty_quickly() -> None:
    DatabaseOperations.sql_flush = sql_flush
    flush.emit_post_migrate_signal = write_nothing
