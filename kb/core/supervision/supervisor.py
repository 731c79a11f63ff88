"""The loop that starts the children in order, restarts them, and stops them in order."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kb.core.embedded.postgres import EmbeddedServiceError
from kb.core.supervision import decisions
from kb.core.supervision.children import Child, always
from kb.core.supervision.guarding import Guardian
from kb.core.supervision.heartbeats import Signs, Watch
from kb.core.supervision.logs import log_path
from kb.core.supervision.preflight import CannotStart, full, is_full
from kb.core.supervision.running import Running
from kb.core.supervision.waiting import Events

TICK_SECONDS = 0.1
REPLACE_SECONDS = 10.0
TRY_AGAIN_SECONDS = 0.5
DISK_SECONDS = 60.0
EXPLAIN_SECONDS = 3.0

Report = Callable[[str], None]


class Supervisor:
    """`run` returns when it was asked to stop, or raises CannotStart; either way everything is stopped."""

    def __init__(
        self, children: Sequence[Child], home: Path, report: Report, lock: int, watch: Watch | None = None
    ) -> None:
        self.all = [Running(child, home) for child in sorted(children, key=lambda child: child.start_order)]
        self.home = home
        self.report = report
        self.guardian = Guardian(home, lock)
        self.watch = watch
        self.judged: Signs | None = None
        self.disk_looked_at = 0.0
        self.disk_was_full = False

    def run(self) -> None:
        with Events(self.report) as self.events:
            try:
                while not self.events.stops:
                    self.tick()
                    self.events.wait(TICK_SECONDS)
            finally:
                self.stop_all()
                self.guardian.close()
                if self.watch:
                    self.watch.ended.set()

    def tick(self) -> None:
        for running in self.all:
            self.collect(running)
            self.end_overdue(running)
            self.notice_ready(running)
        for running in self.startable():
            self.start(running)
        self.replace_silent()
        self.look_at_disk()

    # Starting ----------------------------------------------------------------------------------

    def startable(self) -> list[Running]:
        """Those that are due again, and the first of those not begun that wait for nobody any more."""
        now = time.monotonic()
        due = [running for running in self.all if running.due is not None and running.due <= now]
        waiting = [running for running in self.all if not running.begun and running.due is None]
        if waiting:
            order = waiting[0].child.start_order
            if all(running.was_ready for running in self.all if running.child.start_order < order):
                due += [running for running in waiting if running.child.start_order == order]
        return due

    def start(self, running: Running) -> None:
        child = running.child
        if not running.begun and not child.wanted():
            running.begun = running.was_ready = True
            return
        try:
            running.start()
        except BlockingIOError:
            running.due = time.monotonic() + TRY_AGAIN_SECONDS
            return
        except (EmbeddedServiceError, OSError) as error:
            self.died(running, 0.0, str(error))
            return
        if running.process is not None:
            self.guardian.watch(child, running.process.pid)
            self.events.relay(child.name, running.process.stdout, hold=child.says_last)
            if not child.once:
                self.report(f"{child.name}: started (process {running.process.pid})")
            if self.watch and child.silent_after and not self.watch.thread.ident:
                self.watch.thread.start()
            if child.ready is always:
                self.notice_ready(running)  # now: it may end before the next look, and others wait for it

    def notice_ready(self, running: Running) -> None:
        child = running.child
        if running.process is None or running.ready or child.once or not child.ready():
            return
        again, running.ready, running.was_ready = running.was_ready, True, True
        if child.ready is not always:
            self.report(f"{child.name}: ready after {time.monotonic() - running.started:.1f} s")
        if again:
            self.replace_dependents(child.name)
        elif child.announce:
            for line in child.announce:
                self.report(line)
            self.events.say_held()

    # Dying and replacing -----------------------------------------------------------------------

    def collect(self, running: Running) -> None:
        status, pid = running.ended(), running.pid
        if status is None or pid is None:
            return
        self.guardian.forget(pid)
        self.events.drain(running.child.name)
        asked, lived = running.kill_at is not None, time.monotonic() - running.started
        running.forget()
        if asked:
            running.due = time.monotonic()
        elif running.child.once and status == 0:
            running.was_ready = True
        else:
            self.died(running, lived, running.last_words(status) or f"status {status}")
        if running.child.after:
            running.child.after(status)

    def died(self, running: Running, lived: float, words: str) -> None:
        child = running.child
        running.begun = True
        where = f"{words.rstrip('.')} ({log_path(self.home, child.name)})"
        verdict = decisions.restart(lived, running.deaths)
        running.deaths = verdict.deaths
        if child.once:
            if child.required:
                raise CannotStart(f"{child.name} failed: {where}")
            running.was_ready = True
            self.report(f"{child.name}: failed: {where}")
            return
        if decisions.hopeless(child.required, running.was_ready, verdict.deaths):
            raise CannotStart(f"{child.name} does not start: {where}")
        running.due = time.monotonic() + verdict.delay
        self.report(f"{child.name}: stopped: {where}; again in {verdict.delay:.0f} s")

    def replace(self, running: Running, reason: str) -> None:
        if running.process is not None and running.kill_at is None:
            self.report(f"{running.child.name}: {reason}, is replaced")
            running.ask_to_stop(min(REPLACE_SECONDS, running.child.stop_seconds))

    def replace_dependents(self, name: str) -> None:
        for running in self.all:
            if running.child.replaced_with == name:
                self.replace(running, f"lost {name}")

    def end_overdue(self, running: Running) -> None:
        if running.kill_at is not None and time.monotonic() > running.kill_at:
            running.kill_group()

    def replace_silent(self) -> None:
        """Judges each new reading of the heartbeats once, at the time at which it was read."""
        signs = self.watch.latest if self.watch else None
        if signs is None or signs is self.judged:
            return
        self.judged = signs
        for running in self.all:
            watched = running.child.silent_after and running.pid is not None
            if watched and decisions.silent(self.seen(running, signs), signs.at):
                self.replace(running, f"no sign of life for {running.child.silent_after:.0f} s and more")

    def seen(self, running: Running, signs: Signs) -> decisions.Worker:
        asker = next((other for other in self.all if other.child.name == running.child.asked_by), None)
        return decisions.Worker(
            started=running.started_at,
            seen=signs.of_group(running.pid or 0),
            limit=running.child.silent_after,
            asked_since=max(signs.since, asker.started_at if asker else 0.0),
            asker_gives_signs=bool(asker and asker.child.silent_after),
            asker_seen=signs.of_group(asker.pid) if asker and asker.pid else None,
        )

    def look_at_disk(self) -> None:
        """Says once, each time it happens, that the disk is filling up."""
        now = time.monotonic()
        if now - self.disk_looked_at >= DISK_SECONDS:
            self.disk_looked_at, was_full = now, self.disk_was_full
            self.disk_was_full = is_full(self.home)
            if self.disk_was_full and not was_full:
                self.report(full(self.home))

    # Stopping ----------------------------------------------------------------------------------

    def stop_all(self) -> None:
        """Stops by `stop_order`; a second request to stop ends the rest at once."""
        self.events.say_held()
        requests = self.events.stops
        for order in sorted({running.child.stop_order for running in self.all}):
            group = [running for running in self.all if running.child.stop_order == order and running.process]
            for running in [running for running in group if running.child.in_use()]:
                self.report(f"{running.child.name}: left running, another command still uses it")
                group.remove(running)
            if group:
                self.report(f"stopping {', '.join(running.child.name for running in group)}")
                self.stop(group, lambda: self.events.stops > max(requests, 1))
        for running in self.all:
            if running.pid is not None:
                self.guardian.forget(running.pid)

    def stop(self, group: list[Running], hurried: Callable[[], bool]) -> None:
        for running in group:
            running.ask_to_stop()
        self.wait_politely(group, hurried)
        deadline = time.monotonic() + REPLACE_SECONDS
        for running in self.alive(group):
            self.report(f"{running.child.name}: does not stop in time, is ended")
            running.force()
        while self.alive(group) and time.monotonic() < deadline:
            self.events.wait(TICK_SECONDS)
        for running in self.alive(group):
            running.kill_group()
        for running in group:
            self.events.drain(running.child.name)

    def wait_politely(self, group: list[Running], hurried: Callable[[], bool]) -> None:
        """Returns when all have ended, when their time is over, or when the person is in a hurry."""
        explain_at = time.monotonic() + EXPLAIN_SECONDS
        while not hurried() and any(not self.overdue(running) for running in self.alive(group)):
            self.events.wait(TICK_SECONDS)
            if time.monotonic() > explain_at and (busy := self.alive(group)):
                names = ", ".join(running.child.name for running in busy)
                self.report(f"{names}: finishing what was begun; Ctrl-C again ends it at once")
                explain_at = float("inf")

    @staticmethod
    def alive(group: list[Running]) -> list[Running]:
        return [running for running in group if running.process is not None and running.ended() is None]

    @staticmethod
    def overdue(running: Running) -> bool:
        return running.kill_at is not None and time.monotonic() > running.kill_at
