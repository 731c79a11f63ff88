"""Database connections that a web server keeps: each of its requests runs in a thread of its own, and to connect anew
takes longer than most of what is asked then."""

from django.conf import settings
from django.db import connections

WAIT_SECONDS = 5.0  # for a connection, where all are in use


def keep_connections() -> None:
    """From now on the requests of this process take their connections from DATABASE_POOL that are kept; 0: none."""
    most = settings.DATABASE_POOL
    if most:
        pool = {"min_size": min(2, most), "max_size": most, "timeout": WAIT_SECONDS}
        connections.settings["default"]["OPTIONS"]["pool"] = pool
