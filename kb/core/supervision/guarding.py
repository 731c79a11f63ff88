"""Our end of the guardian: tells it what runs, and starts another one if it was ended."""

import json
import subprocess
import sys
from pathlib import Path

from kb.core.supervision import guardian
from kb.core.supervision.children import Child
from kb.core.supervision.logs import open_log


class Guardian:
    """The process that stops our children if we are killed; it keeps the lock until it has done so."""

    def __init__(self, home: Path, lock: int) -> None:
        self.home = home
        self.lock = lock
        self.notes: dict[int, dict[str, object]] = {}
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        with open_log(self.home, "guardian") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", guardian.__file__],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self.lock,),
                text=True,
                cwd="/",
            )

    def watch(self, child: Child, pid: int) -> None:
        self.notes[pid] = {
            "pid": pid,
            "signal": int(child.stop_signal),
            "seconds": child.stop_seconds,
            "order": child.stop_order,
            "users_file": child.users_file,
        }
        self.tell(self.notes[pid])

    def forget(self, pid: int) -> None:
        self.notes.pop(pid, None)
        self.tell({"pid": pid})

    def tell(self, *notes: dict[str, object]) -> None:
        try:
            self.write(notes)
        except BrokenPipeError:
            self.process.wait()
            self.process = self.start()
            self.write(tuple(self.notes.values()))

    def write(self, notes: tuple[dict[str, object], ...]) -> None:
        pipe = self.process.stdin
        if pipe is None:
            raise BrokenPipeError
        pipe.write("".join(f"{json.dumps(note)}\n" for note in notes))
        pipe.flush()

    def close(self) -> None:
        """Lets it go; with nothing left to stop it ends at once."""
        self.process.communicate()
