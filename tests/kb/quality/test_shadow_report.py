"""What curators see of a version in shadow: figures, their course, and both sides of a disagreement."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents.models import Chunk
from kb.indexes.models import Index, IndexVersion
from kb.quality.shadow_report import course, disagreements, judge, summary
from kb.search.models import Query, ShadowComparison
from tests.conftest import ingest
from tests.kb.candidates import State, candidate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def version(alice: User, collection: Collection, index: Index) -> IndexVersion:
    for word in ("bread", "graphs"):
        ingest(alice, collection, f"{word}.txt", f"This tells of {word}.")
    return candidate(index, State.SHADOW, shadow_share=1.0)


def compared(version: IndexVersion, minutes: float = 0, **more: Any) -> ShadowComparison:
    given = {"overlap": 0.5, "rbo": 0.4, "score_shift": 0.1, "live_ms": 10.0, "candidate_ms": 30.0}
    made = ShadowComparison.objects.create(
        query=Query.objects.create(kind="search", text="bread?"),
        version=version,
        against=version.index.live_version,
        **given | more,
    )
    when = timezone.now() - timedelta(minutes=minutes)
    ShadowComparison.objects.filter(pk=made.pk).update(created_at=when)
    return made


def test_without_comparisons_there_is_nothing_to_say(version: IndexVersion, admin: User) -> None:
    found = summary(version)
    assert (found.count, found.overlap, found.live_ms) == (0, None, None)
    assert course(version) == []
    assert disagreements(version, admin) == []


def test_figures_are_means_and_percentiles(version: IndexVersion) -> None:
    compared(version)
    compared(version, overlap=1.0, rbo=1.0, score_shift=None, error="dense", preference="candidate")
    found = summary(version)
    assert (found.count, found.overlap, found.rbo, found.score_shift) == (2, 0.75, 0.7, 0.1)
    assert (found.failed, found.live_ms, found.candidate_ms) == (1, 10.0, 30.0)
    assert (found.prefer_live, found.prefer_candidate, found.equal) == (0, 1, 0)


def test_the_course_goes_by_how_long_it_lasted(version: IndexVersion) -> None:
    for minutes in (0, 0.01, 90):
        compared(version, minutes)
    assert sum(moment.count for moment in course(version)) == 3
    assert course(version)[0].at.minute != 0 or len(course(version)) > 1, "by the minute"
    compared(version, 60 * 24 * 2)
    assert all(moment.at.minute == 0 for moment in course(version)), "by the hour"
    compared(version, 60 * 24 * 10)
    days = course(version)
    assert len({moment.at.hour for moment in days}) == 1, "by the day"
    assert days[0].at < days[-1].at


def test_both_sides_of_a_disagreement_for_who_may_see_them(
    version: IndexVersion, admin: User, charlie: User
) -> None:
    bread, graphs = Chunk.objects.order_by("pk").values_list("pk", flat=True)
    compared(version, live=[[bread, 1.0], [graphs, 0.5]], candidate=[[graphs, 1.0], [-1, 0.2]])
    compared(version, rbo=1.0, overlap=1.0)
    [found] = disagreements(version, admin)
    assert [(each.rank, each.theirs, each.title) for each in found.live] == [
        (1, None, "bread"),
        (2, 1, "graphs"),
    ]
    assert [(each.theirs, each.title) for each in found.candidate] == [(2, "graphs"), (None, "")]
    assert "This tells of bread" in found.live[0].text
    [hidden] = disagreements(version, charlie)
    assert {(each.title, each.text) for each in hidden.live} == {("", "")}


def test_what_is_not_judged_comes_first_and_then_the_worst(version: IndexVersion, admin: User) -> None:
    judged = compared(version, rbo=0.1)
    mild, strong = compared(version, rbo=0.8), compared(version, rbo=0.2)
    judge(admin, judged, "candidate")
    assert [each.comparison for each in disagreements(version, admin)] == [strong, mild, judged]
    judged.refresh_from_db()
    assert (judged.preference, judged.judged_by) == ("candidate", admin)
    judge(admin, judged, "equal")
    assert summary(version).equal == 1
    with pytest.raises(Problem):
        judge(admin, judged, "whatever")
