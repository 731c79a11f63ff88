"""Keeps what was asked, how it was answered and how long that took."""

from psycopg.types.json import Jsonb

from kb.core import pools
from kb.search.models import Query

INSERT = """
INSERT INTO search_query
    (id, kind, user_id, text, profile_id, version_id, versions, results, degraded, failed, stages,
        created_at)
VALUES (%(id)s, %(kind)s, %(user)s, %(text)s, %(profile)s, %(version)s, %(versions)s::bigint[], %(results)s,
    %(degraded)s, %(failed)s, %(stages)s, now())
RETURNING created_at
"""


def record(query: Query) -> None:
    """Writes the row; whoever reads after this finds it. Nobody waits for the disk: a computer that loses its power
    may forget the last of them, but never what an answer refers to, since that is written after it.

    Raises psycopg.Error.
    """
    given = {
        "id": query.pk,
        "kind": str(query.kind),
        "user": query.user_id,
        "text": query.text,
        "profile": query.profile_id,
        "version": query.version_id,
        "versions": query.versions,
        "results": query.results,
        "degraded": query.degraded,
        "failed": query.failed,
        "stages": Jsonb(query.stages),
    }
    with pools.asking("rows") as connected:
        row = connected.execute(INSERT, given).fetchone()
    (query.created_at,) = row or (None,)
    query._state.adding = False
