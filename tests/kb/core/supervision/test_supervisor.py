"""The supervisor with small real processes: started, restarted, replaced and stopped in order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kb.core.embedded.postgres import EmbeddedServiceError
from kb.core.supervision import decisions
from kb.core.supervision.children import Child
from kb.core.supervision.guardian import alive
from kb.core.supervision.heartbeats import Watch
from kb.core.supervision.lock import acquire
from kb.core.supervision.preflight import CannotStart
from kb.core.supervision.supervisor import Supervisor

FOREVER = "exec sleep 600"
STUBBORN = "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decisions, "FIRST_DELAY", 0.01)


class Here:
    """A folder of small shell scripts to supervise, and what the supervisor said about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.reactions: list[tuple[str, Callable[[], None]]] = []
        self.pids: dict[str, int] = {}

    def child(
        self, name: str, script: str = FOREVER, start_order: int = 0, stop_order: int = 0, **more: Any
    ) -> Child:
        command = ["sh", "-c", f"cd {self.folder}; {script}"]
        return Child(name, lambda: command, start_order, stop_order, **more)

    def exists(self, name: str) -> Callable[[], bool]:
        return (self.folder / name).exists

    def read(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def when(self, text: str, then: Callable[[], None]) -> None:
        """Does something the first time that this is said."""
        self.reactions.append((text, then))

    def report(self, text: str) -> None:
        self.said.append(text)
        if ": started (process " in text:
            self.pids[text.split(":")[0]] = int(text.split()[-1].rstrip(")"))
        for reaction in [reaction for reaction in self.reactions if reaction[0] in text]:
            self.reactions.remove(reaction)
            reaction[1]()

    def run(self, *children: Child, watch: Watch | None = None) -> None:
        with acquire(self.folder, "here") as lock:
            Supervisor(children, self.folder, self.report, lock.fileno(), watch).run()
        assert not [name for name, pid in self.pids.items() if alive(pid)]

    def position(self, text: str) -> int:
        return next(number for number, line in enumerate(self.said) if text in line)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_starts_and_stops_in_order(here: Here) -> None:
    here.when("web: ready", interrupt)
    here.run(
        here.child("web", f"touch web; {FOREVER}", 2, 0, ready=here.exists("web"), announce=("come in",)),
        here.child("database", f"sleep 0.3; touch database; {FOREVER}", 0, 2, ready=here.exists("database")),
        here.child(
            "prepare", "test -e database && echo open", 1, 0, once=True, required=True, says_last=True
        ),
        here.child("worker", FOREVER, 2, 1),
    )
    order = ["database: started", "database: ready", "web: started", "web: ready", "come in", "open"]
    order += ["stopping web", "stopping worker", "stopping database"]
    assert sorted(order, key=here.position) == order


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_stops_it_and_gets_its_old_receiver_back(here: Here, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    here.when("one: started", lambda: os.kill(os.getpid(), number))
    here.run(here.child("one"))
    assert signal.getsignal(number) is before


def test_what_was_held_back_for_the_announcement_is_said_even_if_that_never_comes(here: Here) -> None:
    with pytest.raises(CannotStart):
        here.run(
            here.child("prepare", "echo the password", 0, 0, once=True, required=True, says_last=True),
            here.child("web", "exit 1", 1, 0, required=True, ready=lambda: False, announce=("come in",)),
        )
    assert "the password" in here.said
    assert "come in" not in here.said


def test_a_dead_child_is_started_again(here: Here) -> None:
    script = f"echo life >> lives; test $(wc -l < lives) -lt 3 || {FOREVER}; echo broken >&2; exit 3"
    here.when("flaky: ready", interrupt)
    here.run(
        here.child(
            "flaky", script, ready=lambda: here.exists("lives")() and here.read("lives").count("life") == 3
        )
    )
    assert len([line for line in here.said if "flaky: stopped: broken" in line]) == 2


def test_a_child_that_nothing_works_without_is_given_up(here: Here) -> None:
    with pytest.raises(CannotStart, match=r"database does not start: no luck .*database\.log"):
        here.run(
            here.child("database", "echo no luck >&2; exit 1", required=True, ready=lambda: False),
            here.child("other"),
        )
    assert (
        len([line for line in here.said if line.startswith("database: stopped")])
        == decisions.TRIES_AT_START - 1
    )
    assert not alive(here.pids["other"])


def test_a_child_without_which_it_works_is_tried_for_ever(here: Here) -> None:
    tries = decisions.TRIES_AT_START + 2
    script = f"echo life >> lives; test $(wc -l < lives) -lt {tries} || touch enough; exit 1"
    here.when("enough", interrupt)
    here.run(
        here.child("beat", script),
        here.child("watcher", FOREVER, 1, ready=here.exists("enough"), announce=("enough",)),
    )
    assert here.read("lives").count("life") >= tries


def test_a_one_shot_that_must_succeed(here: Here) -> None:
    with pytest.raises(CannotStart, match="prepare failed: ask a superuser"):
        here.run(here.child("prepare", "echo ask a superuser >&2; exit 1", required=True, once=True))


def test_a_one_shot_that_may_fail_is_told_how_it_ended(here: Here) -> None:
    told: list[int] = []
    here.when("demo: failed: oh", interrupt)
    here.run(here.child("demo", "echo half; echo oh >&2; exit 4", once=True, after=told.append))
    assert told == [4]
    assert "demo: half" in here.said


def test_a_one_shot_says_everything_before_the_next_begins(here: Here) -> None:
    here.when("next: started", interrupt)
    here.run(
        here.child(
            "talk", "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; printf last", once=True
        ),
        here.child("next", FOREVER, 1),
    )
    assert [line for line in here.said if line.startswith("talk: ")] == [
        *(f"talk: line {number}" for number in range(5000)),
        "talk: last",
    ]


def test_an_unwanted_child_is_passed_over(here: Here) -> None:
    here.when("next: started", interrupt)
    here.run(
        here.child("demo", "touch demo", once=True, wanted=lambda: False), here.child("next", FOREVER, 1)
    )
    assert not here.exists("demo")()


def test_one_that_does_not_stop_is_ended(here: Here) -> None:
    here.when("stubborn: ready", interrupt)
    here.run(here.child("stubborn", STUBBORN, ready=here.exists("pid"), stop_seconds=0.3))
    assert "stubborn: does not stop in time, is ended" in here.said


def test_a_second_request_hurries(here: Here) -> None:
    here.when("stubborn: ready", interrupt)
    here.when("stopping stubborn", interrupt)
    begin = time.monotonic()
    here.run(here.child("stubborn", STUBBORN, ready=here.exists("pid"), stop_seconds=600))
    assert time.monotonic() - begin < 60


def test_a_gentler_last_signal_is_tried_first(here: Here) -> None:
    script = "trap '' TERM; trap 'touch gentle; exit' QUIT; touch up; while :; do sleep 0.05; done"
    here.when("database: ready", interrupt)
    here.run(
        here.child("database", script, ready=here.exists("up"), stop_seconds=0.2, force_signal=signal.SIGQUIT)
    )
    assert here.exists("gentle")()


def test_what_a_dead_child_left_running_is_ended(here: Here) -> None:
    def kill() -> None:
        os.kill(here.pids["pool"], signal.SIGKILL)
        here.pids["orphan"] = int(here.read("orphan"))

    here.when("pool: ready", kill)
    here.when("pool: stopped: ended by SIGKILL", interrupt)
    here.run(
        here.child(
            "pool",
            f"sleep 600 & echo $! > orphan.new; mv orphan.new orphan; {FOREVER}",
            ready=here.exists("orphan"),
        )
    )


def test_those_that_lost_their_broker_are_replaced(here: Here) -> None:
    here.when("broker: ready", lambda: os.kill(here.pids["broker"], signal.SIGKILL))
    here.when("worker: lost broker", lambda: here.when("worker: started", interrupt))
    here.run(
        here.child("broker", "rm -f up; " + f"touch up; {FOREVER}", ready=here.exists("up")),
        here.child("worker", replaced_with="broker"),
    )


def test_a_silent_worker_is_replaced(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "SILENT_AT_START", 0.0)
    here.when("worker: no sign of life", lambda: here.when("worker: started", interrupt))
    here.run(
        here.child("worker", silent_after=0.05, asked_by="beat"),
        here.child("beat"),
        watch=Watch(dict[int, float], every=0.01),
    )


def test_a_worker_that_gives_signs_is_left_alone(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "SILENT_AT_START", 0.0)
    readings = iter(range(20))

    def reading() -> dict[int, float]:
        if next(readings, None) is None:
            interrupt()
        return {here.pids["worker"]: time.time()}

    here.run(here.child("worker", silent_after=5), watch=Watch(reading, every=0.01))
    assert not [line for line in here.said if "sign of life" in line]


@pytest.fixture
def left_over() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_process_that_is_left_over_is_adopted(here: Here, left_over: subprocess.Popen[bytes]) -> None:
    here.when("database: started", interrupt)
    here.run(here.child("database", "touch started", adopt=lambda: left_over.pid))
    assert here.pids["database"] == left_over.pid
    assert left_over.wait(10) == -signal.SIGTERM
    assert not here.exists("started")()


def test_what_others_still_use_is_left_running(here: Here, left_over: subprocess.Popen[bytes]) -> None:
    here.when("database: started", interrupt)
    with pytest.raises(AssertionError, match="database"):
        here.run(here.child("database", adopt=lambda: left_over.pid, in_use=lambda: True))
    assert left_over.poll() is None
    assert "database: left running, another command still uses it" in here.said


def test_a_command_that_asks_for_a_moment_gets_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.core.supervision.supervisor.TRY_AGAIN_SECONDS", 0.01)
    answers = iter([BlockingIOError(), BlockingIOError(), None])

    def command() -> list[str]:
        if error := next(answers):
            raise error
        return ["sleep", "600"]

    here.when("database: started", interrupt)
    here.run(Child("database", command, 0, 0, required=True))


def test_a_service_that_cannot_be_set_up_says_why(here: Here) -> None:
    def command() -> list[str]:
        raise EmbeddedServiceError("this folder belongs to somebody else")

    with pytest.raises(CannotStart, match="belongs to somebody else"):
        here.run(Child("database", command, 0, 0, required=True))


KILLED = """
import sys
from pathlib import Path
import django
django.setup()
from kb.core.supervision.children import Child
from kb.core.supervision.lock import acquire
from kb.core.supervision.supervisor import Supervisor

home = Path(sys.argv[1])
pool = f"sleep 600 & echo $! > {home}/orphan.new; mv {home}/orphan.new {home}/orphan; exec sleep 600"
gentle = f"trap exit INT; touch {home}/up; while :; do sleep 0.05; done"
children = [
    Child("pool", lambda: ["sh", "-c", pool], 0, 0, ready=(home / "orphan").exists),
    Child("database", lambda: ["sh", "-c", gentle], 0, 1, stop_signal=2, ready=(home / "up").exists),
]
with acquire(home, "here") as lock:
    Supervisor(children, home, lambda text: print(text, flush=True), lock.fileno()).run()
"""


def test_a_killed_supervisor_leaves_nothing_running(tmp_path: Path) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        pids, ready = set[int](), 0
        while ready < 2:
            line = process.stdout.readline()
            assert line
            ready += ": ready" in line
            if "(process " in line:
                pids.add(int(line.split()[-1].rstrip(")")))
        pids.add(int((tmp_path / "orphan").read_text()))
        assert all(alive(pid) for pid in pids)
        process.kill()
        process.wait()
        # The lock is given back when the guardian is done, so that the next start finds nothing in its way.
        with acquire(tmp_path, "next"):
            assert not [pid for pid in pids if alive(pid)]
