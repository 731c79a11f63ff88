"""Without a broker nothing waits for it: the sweeps find what is to be done."""

import pytest
from kombu.exceptions import OperationalError

from kb.core import waking


class Task:
    """Counts what is sent, as long as the broker takes it."""

    name = "a_task"

    def __init__(self) -> None:
        self.sent = self.tried = 0
        self.broken = False

    def apply_async(self, **_: object) -> None:
        self.tried += 1
        if self.broken:
            raise OperationalError("no broker")
        self.sent += 1


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the only element."""
    times = [1000.0]
    monkeypatch.setattr(waking.time, "monotonic", lambda: times[0])
    monkeypatch.setattr(waking, "_silent", {"until": 0.0})
    return times


def test_a_broker_that_is_away_is_asked_once_in_a_while(now: list[float]) -> None:
    task = Task()
    task.broken = True
    for _ in range(1000):
        waking.wake(task, 1)
    assert task.tried == 1
    now[0] += waking.SILENT_SECONDS
    task.broken = False
    for _ in range(3):
        waking.wake(task, 1)
    assert (task.tried, task.sent) == (4, 3)
