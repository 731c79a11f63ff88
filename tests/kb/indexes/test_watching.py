"""Whoever looks at a build again and again has it counted now and then."""

import pytest

from kb.core.models import Collection
from kb.indexes import building, watching
from kb.indexes.models import IndexVersion
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import beside

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Counting takes a tenth of a second."""
    at = {"now": 1000.0, "counted": 0}
    phase = building.phase

    def slow(version: IndexVersion) -> building.Phase:
        at["now"] += 0.1
        at["counted"] += 1
        return phase(version)

    monkeypatch.setattr(watching.time, "monotonic", lambda: at["now"])
    monkeypatch.setattr(building, "phase", slow)
    return at


def test_it_is_counted_for_a_fiftieth_of_the_time(
    version: IndexVersion, collection: Collection, clock: dict[str, float]
) -> None:
    chunked(version, collection, ["one two three", "four five"])
    made = beside(version)
    for _ in range(3):
        sight = watching.look(made)
    assert clock["counted"] == 1
    assert sight.left is not None
    assert (sight.phase.total, sight.left.chunks) == (2, 2)
    clock["now"] += 5.1
    watching.look(made)
    assert clock["counted"] == 2
    made.state = "validating"
    assert watching.look(made).left is None, (
        "another state is another count, and of one built nothing is left"
    )
    assert clock["counted"] == 3


@pytest.mark.parametrize("state", ["live", "dropped", "retired", "cancelled"])
def test_of_what_is_over_nothing_is_left(version: IndexVersion, state: str) -> None:
    made = version if state == "live" else beside(version, state)
    assert watching.look(made).left is None
