"""What the supervisor waits for: signals, ended children, and what one-shot children say to the person."""

import os
import selectors
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import IO, Any, Self

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Events:
    """Counts requests to stop in `stops`, and passes on whole lines of the children it relays."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self.stops = 0
        self.selector = selectors.DefaultSelector()
        self.pipes: dict[str, IO[bytes]] = {}
        self.unfinished: dict[str, bytes] = {}
        self.held: dict[str, list[str]] = {}
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.reader, self.writer = socket.socketpair()
        self.reader.setblocking(False)
        self.writer.setblocking(False)
        self.selector.register(self.reader, selectors.EVENT_READ)
        self.wakeup = signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)
        for number in (*STOPS, signal.SIGCHLD):
            self.before[number] = signal.signal(number, self.noticed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self.wakeup)
        self.selector.close()
        self.reader.close()
        self.writer.close()

    def noticed(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a signal's receiver)
        if number in STOPS:
            self.stops += 1

    def relay(self, name: str, pipe: IO[bytes] | None, hold: bool = False) -> None:
        """Passes on what comes through the pipe, with `hold` not before `say_held`."""
        if pipe is not None:
            if hold:
                self.held[name] = []
            os.set_blocking(pipe.fileno(), False)
            self.pipes[name], self.unfinished[name] = pipe, b""
            self.selector.register(pipe, selectors.EVENT_READ, name)

    def wait(self, seconds: float) -> None:
        """Returns after the time, or earlier when something happened."""
        for key, _ in self.selector.select(seconds):
            if key.data is None:
                self.reader.recv(4096)
            else:
                self.read(key.data)

    def read(self, name: str) -> bool:
        """Passes on what the child has said so far; False when there is nothing more."""
        pipe = self.pipes.get(name)
        if pipe is None:
            return False
        try:
            said = os.read(pipe.fileno(), 65536)
        except BlockingIOError:
            return False
        if not said:
            self.selector.unregister(pipe)
            self.pipes.pop(name).close()
        *lines, self.unfinished[name] = (self.unfinished[name] + said).split(b"\n")
        if not said and self.unfinished[name]:
            lines, self.unfinished[name] = [*lines, self.unfinished[name]], b""
        for line in lines:
            if text := line.decode(errors="replace").strip():
                if name in self.held:
                    self.held[name].append(text)
                else:
                    self.report(f"{name}: {text}")
        return bool(said)

    def say_held(self) -> None:
        for text in [text for texts in self.held.values() for text in texts]:
            self.report(text)
        self.held.clear()

    def drain(self, name: str) -> None:
        while self.read(name):
            pass
        if pipe := self.pipes.pop(name, None):
            self.selector.unregister(pipe)
            pipe.close()
