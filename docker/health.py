#!/usr/bin/env python
"""Says by its exit status whether this container does its work: `health.py web`, `health.py QUEUE`.

A worker is healthy while it writes its heartbeat to the database: one that lives but consumes nothing is not.
"""

import http.client
import os
import socket
import sys

import psycopg

SILENT_SECONDS = 150
FRESH = """
    SELECT count(*) FROM core_heartbeat
    WHERE queue = %s AND starts_with(worker, %s) AND at > now() - make_interval(secs => %s)
"""


def web(port: int) -> bool:
    """Whether the site answers; it may refuse our host name, which is an answer too."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        asked.request("GET", "/healthz", headers={"Host": "localhost"})
        return asked.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def worker(queue: str, database: str) -> bool:
    """Whether a worker of this container has taken something from the queue lately."""
    try:
        with psycopg.connect(database, connect_timeout=4) as connection:
            here = f"{queue}@{socket.gethostname()}:"
            row = connection.execute(FRESH, [queue, here, SILENT_SECONDS]).fetchone()
    except psycopg.Error:
        return False
    return row is not None and row[0] > 0


def main(what: str) -> int:
    healthy = web(int(os.environ["PORT"])) if what == "web" else worker(what, os.environ["DATABASE_URL"])
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
