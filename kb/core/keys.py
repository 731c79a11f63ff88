"""Which API key a request comes with: read anew for each, since a key that is revoked is refused from then on."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from kb.core import pools
from kb.core.models import APIKey, User, hashed

# What nearly every request needs, in the order of the fields; any other column is read when it is asked for.
OF_KEY = ("id", "owner_id", "name", "prefix", "scopes", "last_used_at")
OF_OWNER = ("id", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active")
KEY = f"""
SELECT {", ".join(f"key.{name}" for name in OF_KEY)}, {", ".join(f"owner.{name}" for name in OF_OWNER)}
    FROM core_apikey AS key JOIN core_user AS owner ON owner.id = key.owner_id
    WHERE key.hash = %s AND key.revoked_at IS NULL AND (key.expires_at IS NULL OR key.expires_at > now())
        AND owner.is_active
"""  # noqa: S608 (no text of anybody's)


def usable(secret: str) -> APIKey | None:
    """The key with this secret, with its owner; None if there is none, or it has expired or was revoked, or the
    account is closed."""
    row = found(hashed(secret))
    if row is None:
        return None
    key = APIKey.from_db(connection.alias, OF_KEY, row[: len(OF_KEY)])
    key.owner = User.from_db(connection.alias, OF_OWNER, row[len(OF_KEY) :])
    return key


def found(secret_hash: str) -> Sequence[Any] | None:
    """The row. To make Django's statement and to have it planned takes five times as long as to ask for it; inside a
    transaction its own connection is asked, which alone sees what was written there."""
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute(KEY, [secret_hash])
            row: Sequence[Any] | None = cursor.fetchone()
            return row
    with pools.asking("rows") as connected:
        return connected.execute(KEY, [secret_hash], binary=True).fetchone()
