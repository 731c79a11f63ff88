"""The picture of a version's life: which window, which bars."""

from datetime import UTC, datetime, timedelta

import pytest

from kb.core.models import User
from kb.indexes.models import Index, IndexTransition, IndexVersion
from kb.quality.timeline import THINNEST, Stay, bars, chosen, stays, timeline

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
State = IndexVersion.State


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def stay(state: str, start: datetime, end: datetime | None = None) -> Stay:
    return Stay(state, state, start, end)


@pytest.mark.parametrize(
    ("key", "age", "expected"),
    [
        ("", timedelta(minutes=5), "minutes"),
        ("", timedelta(minutes=20), "hour"),
        ("", timedelta(hours=20), "day"),
        ("", timedelta(days=30), "quarter"),
        ("", timedelta(days=400), "all"),
        ("week", timedelta(minutes=1), "week"),
        ("nonsense", timedelta(minutes=1), "minutes"),
    ],
)
def test_the_window_shows_all_of_the_newest_version(key: str, age: timedelta, expected: str) -> None:
    assert chosen(key, age).key == expected


def test_bars_are_cut_to_the_picture() -> None:
    known = [
        stay("building", ago(hours=3), ago(hours=1)),
        stay("validating", ago(hours=1), ago(minutes=30)),
        stay("canary", ago(minutes=30)),
    ]
    found = bars(known, ago(hours=2), NOW)
    assert [(bar.stay.state, bar.x, bar.width) for bar in found] == [
        ("building", 0, 50),
        ("validating", 50, 25),
        ("canary", 75, 25),
    ]


def test_what_is_over_or_gone_has_no_bar() -> None:
    assert bars([stay("live", ago(days=3), ago(days=2))], ago(hours=1), NOW) == []
    assert bars([stay("dropped", ago(minutes=10))], ago(hours=1), NOW) == []
    assert bars([stay("live", NOW)], NOW, NOW) == []


def test_a_moment_is_seen_and_stays_inside() -> None:
    [bar] = bars([stay("validating", ago(seconds=1))], ago(hours=1), NOW)
    assert bar.width == THINNEST
    assert bar.x + bar.width == pytest.approx(100)


@pytest.mark.django_db
def test_transitions_become_stays(index: Index, admin: User) -> None:
    version = index.live_version
    assert version is not None
    IndexTransition.objects.all().delete()
    for state, when in ((State.BUILDING, 5), (State.LIVE, 3), (State.RETIRED, 1)):
        made = IndexTransition.objects.create(version=version, after=state, actor=admin, reason="why")
        IndexTransition.objects.filter(pk=made.pk).update(at=ago(hours=when))
    known = stays(version.transitions.all())
    assert [(each.state, each.start, each.end) for each in known] == [
        ("building", ago(hours=5), ago(hours=3)),
        ("live", ago(hours=3), ago(hours=1)),
        ("retired", ago(hours=1), None),
    ]
    assert (known[0].actor, known[0].reason) == ("root", "why")
    whole = timeline([version], "", NOW)
    assert whole.window.key == "day"
    assert [len(lane.bars) for lane in whole.lanes] == [3]
    assert whole.states == [("building", "Building"), ("live", "Live"), ("retired", "Retired (warm)")]
    assert timeline([version], "all", NOW).start == ago(hours=5)
    newer = IndexVersion.objects.create(
        index=index,
        number=2,
        model=version.model,
        chunking=version.chunking,
        dimensions=8,
        state=State.CANARY,
    )
    made = IndexTransition.objects.create(version=newer, after=State.CANARY)
    IndexTransition.objects.filter(pk=made.pk).update(at=ago(days=6))
    assert timeline([newer, version], "", NOW).window.key == "week", "all of what is under way is shown"
    assert timeline([], "", NOW).lanes == []
