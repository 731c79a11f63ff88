"""What people do to versions: promote and go back in one step, override in their own name."""

import pytest

from kb.core.models import AuditEntry, User
from kb.core.problems import Problem
from kb.indexes.models import Index, IndexVersion
from kb.indexes.version_actions import Wanted, build, cancel, drop, override, promote, retire, rollback
from tests.kb.indexes.versions import beside, report, state_of

pytestmark = pytest.mark.django_db


def live(index: Index) -> int:
    return Index.objects.get(pk=index.pk).live_version.number  # type: ignore[union-attr]


def now(index: Index) -> Index:
    return Index.objects.get(pk=index.pk)


def test_there_and_back_again(version: IndexVersion, index: Index, admin: User) -> None:
    second = beside(version, "canary")
    promote(admin, second, "better")
    assert live(index) == 2
    assert rollback(admin, now(index), "worse").number == 1
    assert (live(index), state_of(second)) == (1, "retired")


def test_going_back_goes_further_each_time(version: IndexVersion, index: Index) -> None:
    second, third = beside(version, "canary"), beside(version, "shadow")
    promote(None, second)
    report(third)
    promote(None, third)
    assert rollback(None, now(index)).number == 2
    assert rollback(None, now(index)).number == 1
    with pytest.raises(Problem) as refused:
        rollback(None, now(index))
    assert (refused.value.code, refused.value.status) == ("nothing_to_go_back_to", 409)
    assert promote(None, third).number == 3, "what was taken back is still warm, and can be named"


def test_what_was_taken_back_is_not_gone_back_to(version: IndexVersion, index: Index) -> None:
    second, third = beside(version, "canary"), beside(version, "shadow")
    promote(None, second)
    rollback(None, now(index))
    report(third)
    promote(None, third)
    assert rollback(None, now(index)).number == 1, (
        "which served before the third; the second was not good enough"
    )
    with pytest.raises(Problem):
        rollback(None, now(index))


def test_what_is_dropped_cannot_be_gone_back_to(version: IndexVersion, index: Index) -> None:
    second = beside(version, "canary")
    promote(None, second)
    version.refresh_from_db()
    retire(None, version, "no room")
    assert state_of(version) == "dropped"
    with pytest.raises(Problem):
        rollback(None, now(index))
    assert live(index) == 2


def test_of_two_who_go_back_at_once_one_does(version: IndexVersion, index: Index) -> None:
    second, third = beside(version, "canary"), beside(version, "shadow")
    promote(None, second)
    report(third)
    promote(None, third)
    mine, theirs = now(index), now(index)
    assert rollback(None, mine).number == 2
    with pytest.raises(Problem) as refused:
        rollback(None, theirs)
    assert (refused.value.code, refused.value.status) == ("moved", 409)
    with pytest.raises(Problem):
        rollback(None, now(index), serving=3)
    assert rollback(None, theirs, serving=2).number == 1


@pytest.mark.parametrize("state", ["building", "validating", "shadow", "canary", "failed", "paused"])
def test_only_what_is_retired_is_retired_for_good(version: IndexVersion, state: str) -> None:
    with pytest.raises(Problem) as refused:
        retire(None, beside(version, state))
    assert refused.value.code == "transition_refused"


def test_the_live_version_can_be_neither_cancelled_nor_dropped(version: IndexVersion) -> None:
    for action in (cancel, drop, retire):
        with pytest.raises(Problem):
            action(None, version)
    assert state_of(version) == "live"


def test_an_override_is_in_somebodys_name(version: IndexVersion, admin: User) -> None:
    made = beside(version, "validating")
    with pytest.raises(Problem) as refused:
        override(admin, made, "it must go out")
    assert refused.value.code == "not_validated"
    report(made, "fail", reasons=["nDCG@10 is lower"])
    with pytest.raises(Problem):
        override(admin, made, "  ")
    with pytest.raises(Problem):
        promote(admin, made)
    override(admin, made, "the question set is out of date")
    assert promote(admin, made).state == "live"
    entry = AuditEntry.objects.get(verb="override")
    assert (entry.actor, entry.detail["reason"]) == (admin, "the question set is out of date")


def test_a_build_is_in_the_audit_log_with_what_it_is_derived_from(
    version: IndexVersion, index: Index, admin: User
) -> None:
    made = build(admin, index, Wanted(hnsw_m=32), "denser")
    entry = AuditEntry.objects.get(verb="build")
    assert (entry.actor, entry.detail) == (admin, {"reason": "denser", "derived_from": str(version)})
    assert (made.hnsw_m, made.dimensions, made.storage) == (32, version.dimensions, version.storage)
    assert made.transitions.get().after == "building"
