"""How many documents are in which state, and what may be done to them."""

import pytest

from kb.core.models import Collection, User
from kb.documents.models import Document
from kb.documents.views.counting import Tally, offered, summed, tallies, tally
from kb.documents.views.whole import buttons


def test_what_is_paused_stands_apart_from_what_moves() -> None:
    count = summed([("queued", True, 3), ("queued", False, 2), ("ready", True, 4), ("failed", False, 1)])
    assert (count.total, count.work, count.moving, count.paused) == (10, 5, 2, 3)
    assert (count.ready, count.failed, count.cancelled, count.finished) == (4, 1, 0, 5)
    assert count.shown == [
        ("ready", "ready", 4), ("queued", "waiting", 2), ("paused", "paused", 3), ("failed", "failed", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("states", "held", "verbs"), [
    ({}, False, []),
    ({}, True, ["resume"]),
    ({"ready": 4}, False, []),
    ({"queued": 1}, False, ["pause", "cancel"]),
    ({"parsing": 1, "paused": 1}, False, ["resume", "pause", "cancel"]),
    ({"paused": 2}, False, ["resume", "cancel"]),
    ({"failed": 1}, False, ["retry"]),
    ({"cancelled": 1, "embedding": 1}, False, ["pause", "cancel", "retry"]),
])  # fmt: skip
def test_what_makes_sense_is_offered(states: dict[str, int], held: bool, verbs: list[str]) -> None:
    assert offered(Tally(states), held) == verbs


@pytest.mark.parametrize(("states", "said"), [
    ({"queued": 1}, "Pause Cancel"),
    ({"paused": 1}, "Resume Cancel"),
    ({"cancelled": 1}, "Try again"),
    ({"queued": 2, "paused": 1}, "Resume the paused ones Pause Cancel the rest"),
    ({"failed": 2}, "Try failed ones again"),
    ({"cancelled": 1, "ready": 1}, "Try cancelled ones again"),
    ({"cancelled": 1, "failed": 1}, "Try failed and cancelled ones again"),
])  # fmt: skip
def test_buttons_say_what_they_reach(states: dict[str, int], said: str) -> None:
    acts = buttons(Tally(states), lambda verb: f"/{verb}/")
    assert " ".join(act.label for act in acts) == said
    assert len({act.place for act in acts}) == len(acts)


def test_documents_are_counted_by_a_field_in_one_query(
    alice: User, collection: Collection, django_assert_num_queries
) -> None:
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    Document.objects.bulk_create(
        Document(collection=each, title="x", filename="x.txt", state=state, paused=paused)
        for each, state, paused in [
            (collection, "queued", False),
            (collection, "queued", True),
            (other, "ready", False),
        ]
    )
    with django_assert_num_queries(1):
        found = tallies(Document.objects.all(), "collection")
    assert found == {collection.pk: Tally({"queued": 1, "paused": 1}), other.pk: Tally({"ready": 1})}
    assert tally(Document.objects.all()) == Tally({"queued": 1, "paused": 1, "ready": 1})
