"""A real Footnote for tests: `manage.py up` in a folder of its own, with every process it has."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

import psycopg

from kb.core.embedded import layout
from tests.places import ROOT

START_SECONDS = 120
NOT_OURS = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY", "EMBEDDER"}
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], T], what: str, seconds: float = 60, every: float = 0.1) -> T:
    """Waits for `condition` to hold, asking `every` so many seconds; fails with `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(every)
    return found


class Site:
    """One `up` and what it started."""

    username = "admin"

    def __init__(self, home: Path, *, cache: Path | None = None, **environment: str) -> None:
        """`cache` is a folder for converted models that several sites share."""
        self.home, self.port, self.cache = home, free_port(), cache
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        } | {
            "KB_HOME": str(home),
            "PORT": str(self.port),
            # Nothing is measured while a test waits for it.
            "EMBED_BACKEND": "openvino-float32",
            # It is the workers that tests wait for, beside other tests that leave them nothing over.
            "WORKER_NICE": "0",
            **environment,
        }
        self.password = ""

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if self.cache and not (self.home / "cache").exists():
            self.cache.mkdir(exist_ok=True)
            (self.home / "cache").symlink_to(self.cache)
        self.output = self.home / "up.out"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--no-demo"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self.is_up, f"the site, which said:\n{self.said()}", START_SECONDS)
        # The login is told after the site is up, and before the workers are started.
        until(lambda: "parse: started" in self.said(), "the workers", START_SECONDS)
        if found := re.search(r"Sign in as admin with the password (\S+)", self.said()):
            self.password = found[1]

    def said(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_up(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"up ended:\n{self.said()}")
        try:
            with urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def manage(self, *arguments: str, seconds: float = 300) -> Any:
        """What `manage.py … --json` says, within so many seconds."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments, "--json"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return json.loads(done.stdout)

    def send(self, *messages: tuple[object, ...]) -> None:
        """Puts tasks with their arguments into the broker all at once, as producers or redeliveries would."""
        code = (
            "import json, sys; from kb.celery import app\n"
            "for task, *arguments in json.loads(sys.argv[1]): app.send_task(task, arguments)"
        )
        subprocess.run(
            [sys.executable, "-c", code, json.dumps(messages)],
            cwd=ROOT,
            env=self.environment,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def connect(self, *, autocommit: bool = False) -> psycopg.Connection:
        return psycopg.connect(
            host=str(layout.sockets(self.home)),
            user=layout.USER,
            dbname=layout.DATABASE,
            passfile=str(layout.password_file(self.home)),
            autocommit=autocommit,
        )

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self.connect(autocommit=True) as connected:
            found = connected.execute(statement, parameters)
            return [] if found.description is None else found.fetchall()

    def database_answers(self) -> bool:
        try:
            return self.sql("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def pids(self, name: str) -> list[int]:
        """The processes that `up` says it started last under this name, if they live."""
        started = re.findall(rf"{name}: started \(process (\d+)\)", self.said())
        return [int(pid) for pid in started[-1:] if Path(f"/proc/{pid}").exists()]

    def kill(self, name: str) -> None:
        """kill -9 of the process and its children; waits until `up` has started another."""
        (pid,) = self.pids(name)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for victim in (pid, *map(int, children)):
            os.kill(victim, signal.SIGKILL)
        until(lambda: self.pids(name) not in ([], [pid]), f"another {name}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
