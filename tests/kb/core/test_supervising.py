"""The processes of one machine: which there are, in what order, and a whole run of them."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from uvicorn.main import main as uvicorn_command

from kb.core import supervising
from kb.core.embedded import lease, postgres, valkey
from kb.core.models import Collection, User
from kb.core.supervising import Site, begin_demo, children, end_demo
from kb.core.supervision.children import never
from kb.core.supervision.guardian import alive
from kb.core.tasks import QUEUES

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(home=tmp_path, host="127.0.0.1", port=8000)


def test_nobody_tells_the_web_server_which_address_they_come_from(site: Site) -> None:
    """Wrong passwords are counted by address: a header that changes it would let somebody guess on."""
    command = supervising.web_child(site).command()
    options = uvicorn_command.make_context("uvicorn", command[command.index("uvicorn") + 1 :]).params
    assert options["app"] == settings.ASGI_APPLICATION.replace(".application", ":application")
    assert options["proxy_headers"] is False


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://[::1]:8000/"),
        ("kb.example.org", "http://kb.example.org:8000/"),
    ],
)
def test_the_address_is_one_that_a_browser_can_open(tmp_path: Path, host: str, address: str) -> None:
    assert Site(home=tmp_path, host=host, port=8000).address == address


def test_services_come_first_and_go_last(site: Site) -> None:
    rows = {child.name: child for child in children(site, never)}
    by_start = sorted(rows, key=lambda name: rows[name].start_order)
    assert by_start == [
        "postgres", "valkey", "prepare", "web", "control", "parse", "embed", "beat", "demo", "fetch"
    ]  # fmt: skip
    asked_last = max(rows.values(), key=lambda child: child.stop_order)
    assert asked_last.name == "postgres"
    assert rows["valkey"].stop_order > max(
        rows[name].stop_order for name in ("web", "control", "parse", "embed", "fetch", "beat")
    )


@pytest.mark.parametrize(
    ("option", "name"), [("embedded_postgres", "postgres"), ("embedded_valkey", "valkey")]
)
def test_a_service_from_elsewhere_is_not_started(tmp_path: Path, option: str, name: str) -> None:
    site = Site(home=tmp_path, host="127.0.0.1", port=8000, **{option: False})  # type: ignore[arg-type]
    assert name not in {child.name for child in children(site, never)}


def test_every_queue_has_a_worker_and_every_worker_is_watched(site: Site) -> None:
    workers = [child for child in supervising.worker_children(site) if "worker" in child.command()]
    taken = [queue for child in workers for queue in after("-Q", child.command()).split(",")]
    assert sorted(taken) == sorted(QUEUES)
    assert all(child.silent_after >= supervising.SILENT_SECONDS for child in workers)


def test_sweeps_and_heartbeats_stand_behind_nothing_that_takes_long(site: Site) -> None:
    workers = {child.name: child for child in supervising.worker_children(site)}
    command = workers["control"].command()
    assert (after("-Q", command), after("--pool", command)) == ("control", "threads")
    assert workers["control"].asked_by == "beat"
    assert {workers[name].asked_by for name in ("parse", "embed", "fetch")} == {"control"}


def after(option: str, words: list[str]) -> str:
    return words[words.index(option) + 1]


def test_fetching_waits_in_threads_and_is_waited_for_the_least(site: Site) -> None:
    """Nothing stops a thread: whatever its server does, Ctrl-C must not wait for it for long."""
    workers = {child.name: child for child in supervising.worker_children(site)}
    command = workers["fetch"].command()
    assert (after("-Q", command), after("--pool", command), after("-c", command)) == ("fetch", "threads", "8")
    assert workers["fetch"].stop_seconds <= 10 < workers["parse"].stop_seconds


def test_a_long_parse_is_no_silence(tmp_path: Path) -> None:
    site = Site(home=tmp_path, host="127.0.0.1", port=8000, parse_seconds=1200)
    parse = next(child for child in children(site, never) if child.name == "parse")
    assert parse.silent_after > 1200


@pytest.fixture
def answering() -> Iterator[Callable[[int], int]]:
    """Makes a web server that answers everything with one status, and gives its port."""
    servers = []

    def start(status: int) -> int:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: the test looks at what comes back."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "expected"), [(200, True), (400, True), (404, True), (500, False), (503, False)]
)
def test_answers(answering: Callable[[int], int], status: int, expected: bool) -> None:
    assert supervising.answers("127.0.0.1", answering(status)) is expected


def test_nobody_answers_on_a_free_port(free_port: int) -> None:
    assert not supervising.answers("127.0.0.1", free_port)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.django_db(transaction=True)
def test_the_demo_is_loaded_once_and_a_start_cut_short_is_made_up_for(tmp_path: Path) -> None:
    marker = tmp_path / "demo"
    assert not begin_demo(marker, asked_for=False)
    assert begin_demo(marker, asked_for=True)
    owner = User.objects.create_user("owner")
    Collection.objects.create(name="Demo", slug="demo", owner=owner)
    end_demo(marker, status=1)
    assert begin_demo(marker, asked_for=True)
    end_demo(marker, status=0)
    Collection.objects.all().delete()
    assert not begin_demo(marker, asked_for=True)


@pytest.mark.django_db(transaction=True)
def test_a_site_with_collections_gets_no_demo(tmp_path: Path) -> None:
    Collection.objects.create(name="Mine", slug="mine", owner=User.objects.create_user("owner"))
    assert not begin_demo(tmp_path / "demo", asked_for=True)


# A whole run ------------------------------------------------------------------------------------------


class Up:
    """`manage.py up` in a folder of its own, read line by line."""

    def __init__(self, home: Path, port: int) -> None:
        ours = {
            "KB_HOME": str(home),
            "PORT": str(port),
            "EMBEDDER": "hashing",
            "DATABASE_URL": "",
            "REDIS_URL": "",
        }
        self.environment = os.environ | ours | {"DJANGO_SETTINGS_MODULE": "kb.settings"}
        self.said: list[str] = []
        self.process = self.start("--no-demo")

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "manage.py"), "up", *options]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def until(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"never said {pattern}:\n" + "\n".join(self.said))

    def pids(self) -> dict[str, int]:
        found = (re.search(r"(\w+): started \(process (\d+)\)", line) for line in self.said)
        return {match[1]: int(match[2]) for match in found if match}


@pytest.fixture
def up(tmp_path: Path, free_port: int) -> Iterator[Up]:
    running = Up(tmp_path / "home", free_port)
    yield running
    running.process.send_signal(signal.SIGINT)
    running.process.communicate(timeout=90)


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.skipif(bool(settings.DATABASE_URL), reason="about the embedded services")
def test_a_whole_run(up: Up, tmp_path: Path) -> None:
    """Starts from nothing, tells a second one so, repairs itself, and leaves nothing running."""
    home = tmp_path / "home"
    address = up.until(r"Footnote is at (\S+)")[1]
    up.until(r"Sign in as admin with the password \S{16}")
    up.until(r"beat: started")

    second = up.start()
    told, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"already running at {address} (process {up.process.pid})" in told

    for name in ("web", "valkey", "postgres"):
        os.kill(up.pids()[name], signal.SIGKILL)
        up.until(f"{name}: stopped: ended by SIGKILL")
        up.until(f"{name}: ready")

    up.process.send_signal(signal.SIGINT)
    up.until("Footnote has stopped")
    assert up.process.wait(60) == 0
    assert not [name for name, pid in up.pids().items() if alive(pid)]
    assert postgres.running_pid(home) is None
    assert valkey.running_pid(home) is None
    assert json.loads((home / "up.pid").read_text())["address"] == address
    share = lease.Share(home)
    assert share.is_last()
    share.close()
