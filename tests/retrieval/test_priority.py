"""A process that gives way does so inside its session and among sessions, and what it starts does, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval import priority

CODE = """
import os, subprocess, sys
from pathlib import Path
from retrieval.priority import give_way, keep_in_session
autogroup = Path("/proc/self/autogroup")
if sys.argv[1:]:
    keep_in_session()
else:
    give_way(7)
    subprocess.run([sys.executable, "-c", os.environ["CODE"], "child"], start_new_session=True, check=True)
own = os.getpriority(os.PRIO_PROCESS, 0)
print(own, autogroup.read_text().split()[-1] if autogroup.exists() else own, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sessions are given a nice value on Linux alone")
def test_a_process_gives_way_with_its_session_and_its_children() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"CODE": CODE, "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    nice = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
    assert done.stdout.splitlines() == [f"{nice} {nice}"] * 2


def test_where_sessions_have_no_nice_value_the_process_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priority, "AUTOGROUP", tmp_path / "missing" / "autogroup")
    priority.give_way(0)
