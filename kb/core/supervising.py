"""The processes of Footnote on one machine, as data, and the run that keeps them up."""

import http.client
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGQUIT

from django.db import DatabaseError, connection

from kb.core.embedded import lease, postgres, valkey
from kb.core.environment import ROOT
from kb.core.models import Collection
from kb.core.supervision import decisions, preflight
from kb.core.supervision.children import Child
from kb.core.supervision.heartbeats import Watch
from kb.core.supervision.lock import acquire
from kb.core.supervision.supervisor import Supervisor

SILENT_SECONDS = 150.0
# Celery's chatter between workers is for fleets; here it only slows the start.
QUIET = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
DEMO_MARKER = "demo"


@dataclass(frozen=True)
class Site:
    """What this run of `up` is to be; `parse_seconds` is how long one file may take by the clock."""

    home: Path
    host: str
    port: int
    embedded_postgres: bool = True
    embedded_valkey: bool = True
    parse_workers: int = 2
    fetch_threads: int = 8
    parse_seconds: float = 120
    demo: bool = True

    @property
    def reachable(self) -> str:
        """The host to use from this machine."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104 (compared, not bound)

    @property
    def address(self) -> str:
        host = f"[{self.reachable}]" if ":" in self.reachable else self.reachable
        return f"http://{host}:{self.port}/"


def python(*arguments: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, *arguments]


def manage(*arguments: str) -> Callable[[], list[str]]:
    return python(str(ROOT / "manage.py"), *arguments)


def celery(*arguments: str) -> Callable[[], list[str]]:
    return python("-m", "celery", "-A", "kb", *arguments)


def postgres_child(home: Path, in_use: Callable[[], bool]) -> Child:
    def command() -> list[str]:
        # Not while a command of another process does the same.
        with lease.starting_file(home).open("w") as starting, lease.exclusively(starting, wait=False):
            postgres.prepare(home)
        return postgres.command(home)

    return Child(
        "postgres",
        command,
        start_order=0,
        stop_order=4,
        stop_signal=SIGINT,
        stop_seconds=60,
        force_signal=SIGQUIT,
        ready=partial(postgres.ready, home),
        required=True,
        adopt=partial(postgres.running_pid, home),
        in_use=in_use,
        users_file=str(lease.users_file(home)),
    )


def valkey_child(home: Path) -> Child:
    def command() -> list[str]:
        valkey.stop_stale(home)
        return valkey.command(home)

    return Child(
        "valkey", command, start_order=0, stop_order=3, ready=partial(valkey.ready, home), required=True
    )


def web_child(site: Site) -> Child:
    command = python(
        *("-m", "uvicorn", "kb.asgi:application", "--host", site.host, "--port", str(site.port)),
        *("--timeout-graceful-shutdown", "5", "--no-access-log", "--lifespan", "on", "--no-server-header"),
        # Or whoever connects from this machine names any address, and is never shut out for wrong passwords.
        "--no-proxy-headers",
    )
    return Child(
        "web",
        command,
        start_order=2,
        stop_order=0,
        ready=partial(answers, site.reachable, site.port),
        announce=(f"Footnote is at {site.address}", "Ctrl-C stops it and everything that it started."),
    )


def worker_children(site: Site) -> list[Child]:
    """Parsing in processes of their own; embedding in one, which holds the model; the others in threads; the clock.

    Sweeps and heartbeats have a worker to themselves: whatever takes long elsewhere, they find what is lost.
    """
    control = celery(*("worker", "-n", "control@%h", "-Q", "control", "--pool", "threads", "-c", "2", *QUIET))
    parse = celery(*("worker", "-n", "parse@%h", "-Q", "parse", "-c", str(site.parse_workers), *QUIET))
    embed = celery(*("worker", "-n", "embed@%h", "-Q", "embed", "--pool", "solo", *QUIET))
    fetch = celery(
        *(
            "worker",
            "-n",
            "fetch@%h",
            "-Q",
            "fetch",
            "--pool",
            "threads",
            "-c",
            str(site.fetch_threads),
            *QUIET,
        )
    )
    # After the web: all of them reading their modules at once would keep the first page waiting.
    worker = partial(Child, start_order=3, stop_order=2, stop_seconds=25, replaced_with="valkey")
    return [
        worker("control", control, silent_after=SILENT_SECONDS, asked_by="beat"),
        worker("parse", parse, silent_after=max(SILENT_SECONDS, site.parse_seconds + 60), asked_by="control"),
        worker("embed", embed, silent_after=SILENT_SECONDS, asked_by="control"),
        Child("beat", celery("beat", "--loglevel", "INFO"), 3, 1, replaced_with="valkey"),
        Child(
            "fetch",
            fetch,
            start_order=5,  # after the demo: of all that reads its modules now, nobody waits for this one
            stop_order=2,
            stop_seconds=10,  # a server may take minutes; what is not waited for is asked for again later
            replaced_with="valkey",
            silent_after=SILENT_SECONDS,
            asked_by="control",
        ),
    ]


def children(site: Site, database_in_use: Callable[[], bool]) -> list[Child]:
    """Every process of the site, services first."""
    marker = site.home / DEMO_MARKER
    return [
        *([postgres_child(site.home, database_in_use)] if site.embedded_postgres else []),
        *([valkey_child(site.home)] if site.embedded_valkey else []),
        Child(
            "prepare",
            manage("prepare"),
            start_order=1,
            stop_order=0,
            required=True,
            once=True,
            says_last=True,
        ),
        web_child(site),
        *worker_children(site),
        Child(
            "demo",
            manage("load_demo"),
            start_order=4,
            stop_order=0,
            once=True,
            wanted=partial(begin_demo, marker, site.demo),
            after=lambda status: end_demo(marker, status),
        ),
    ]


def answers(host: str, port: int) -> bool:
    """Whether a web server answers there, whatever it says about this host name."""
    asked = http.client.HTTPConnection(host, port, timeout=2)
    try:
        asked.request("GET", "/healthz", headers={"Host": "localhost"})
        return asked.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def begin_demo(marker: Path, asked_for: bool) -> bool:
    """Whether to load the demo now; remembers that it began, so that a start cut short is made up for."""
    state = marker.read_text() if marker.exists() else ""
    try:
        empty = not Collection.objects.exists()
    except DatabaseError:
        empty = False  # the next start asks again
    finally:
        connection.close()
    wanted = decisions.demo_wanted(state, asked_for, empty)
    if wanted:
        marker.write_text("loading")
    return wanted


def end_demo(marker: Path, status: int) -> None:
    if status == 0:
        marker.write_text("loaded")


def run(site: Site, report: Callable[[str], None]) -> None:
    """Runs the site until somebody stops it.

    Raises CannotStart or AlreadyRunning with a sentence; nothing is left running then either.
    """
    preflight.check_folder(site.home)
    with acquire(site.home, site.address) as lock:
        preflight.check_port(site.host, site.port)
        report(f"Footnote starts; its data and logs are in {site.home}")
        share = lease.Share(site.home) if site.embedded_postgres else None
        try:
            rows: Sequence[Child] = children(site, lambda: share is not None and not share.is_last())
            Supervisor(rows, site.home, report, lock.fileno(), Watch()).run()
        finally:
            if share is not None:
                share.close()
        report("Footnote has stopped.")
