"""What a build takes is said before and during it, and nothing is said that is not known."""

import json
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from kb.core.models import Collection, Heartbeat
from kb.documents.models import Chunk, Chunking
from kb.indexes import calibrating, embedding_queue
from kb.indexes.estimates import DERIVED_A_SECOND, estimate
from kb.indexes.models import Calibration, EmbeddingModel, Index, IndexVersion
from kb.indexes.version_actions import Wanted, estimated
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import another_space, beside, cuttable

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stocked(version: IndexVersion, collection: Collection) -> None:
    chunked(version, collection, ["one two three", "four five"])
    embed_all(version, Counting(version))


@pytest.fixture
def working(settings: Any) -> None:
    """Workers that embed four chunks a second; a build has half of their time."""
    settings.INDEX_BUILD_PERCENT, settings.WATTS = 50, 72
    for worker in ("one", "two"):
        Heartbeat.objects.create(worker=worker, queue="embed", pid=1, rate=2, at=timezone.now())


@pytest.mark.usefixtures("working")
def test_what_workers_do_of_late_says_nothing_of_another_model(index: Index, version: IndexVersion) -> None:
    assert estimated(index, Wanted(model=another_space())).rate is None
    made = beside(version, "building", model=another_space(32), dimensions=32)
    embedding_queue.enqueue_missing(made)
    assert estimate(made).rate is None
    assert embedding_queue.lease(made)
    assert estimate(made).rate == 2.0, "it is this one that they embed"


@pytest.mark.usefixtures("working")
def test_time_and_energy_go_by_what_workers_do_of_late(index: Index) -> None:
    found = estimated(index, Wanted(storage="vector", derive=False))
    assert (found.chunks, found.tokens, found.rate, found.seconds) == (2, 5, 2.0, 1.0)
    assert found.watt_hours == pytest.approx(72 * 0.5 / 3600)
    assert (found.cost, found.derived, found.rough) == (None, False, False)


@pytest.mark.usefixtures("working")
def test_what_is_done_is_not_left(version: IndexVersion) -> None:
    made = beside(version, "building", model=another_space(), dimensions=64)
    assert estimate(made).chunks == 2
    chunk = Chunk.objects.order_by("pk").first()
    assert chunk is not None
    embed_all(made, Counting(made))
    assert estimate(made).chunks == 2, "nothing was queued"
    embedding_queue.enqueue_missing(made)
    embed_all(made, Counting(made))
    assert (estimate(made).chunks, estimate(made).tokens) == (0, 0)
    assert (estimate(made, 1).chunks, estimate(made, 1).tokens) == (1, 2)
    assert estimate(version).chunks == 0


def test_a_price_is_for_a_million_tokens(index: Index) -> None:
    model = EmbeddingModel.objects.create(
        provider="openai", name="m", dimensions=64, max_tokens=0, price_per_million_tokens=Decimal(100)
    )
    found = estimated(index, Wanted(model=model))
    assert found.cost == Decimal("0.0005")
    assert (found.seconds, found.watt_hours) == (None, None)


def test_what_is_derived_costs_next_to_nothing(index: Index, version: IndexVersion) -> None:
    cuttable(version.model, 256)
    found = estimated(index, Wanted(dimensions=256))
    assert (found.derived, found.cost, found.rate) == (True, None, DERIVED_A_SECOND)
    assert not estimated(index, Wanted(dimensions=256, derive=False)).derived


def test_without_workers_the_calibration_speaks(index: Index, settings: Any) -> None:
    settings.INDEX_BUILD_PERCENT = 50
    model = EmbeddingModel.objects.create(provider="local", name="m", dimensions=64, max_tokens=0)
    assert estimated(index, Wanted(model=model)).seconds is None
    Calibration.objects.create(
        model=model, machine=calibrating.machine().fingerprint, described="", backend="torch",
        number_format="float32", batch_size=8,
        measured=[{"backend": "torch", "rates": {"8": 20.0, "32": 10.0}}, {"backend": "x", "rates": {"8": 99.0}}],
    )  # fmt: skip
    assert estimated(index, Wanted(model=model)).rate == 10.0


def test_chunks_that_are_not_cut_yet_are_guessed(index: Index) -> None:
    before = Chunking.objects.count()
    found = estimated(index, Wanted(chunk_tokens=60))
    assert (found.rough, found.chunks) == (True, 2)
    assert Chunking.objects.count() == before, "nothing is begun"
    assert IndexVersion.objects.count() == 1


@pytest.mark.usefixtures("working")
def test_the_command_says_it_first() -> None:
    def said(*arguments: str) -> str:
        out = StringIO()
        call_command("index", "build", "--storage", "vector", "--embed", "--dry-run", *arguments, stdout=out)
        return out.getvalue()

    assert said().strip() == "2 chunks with 5 tokens left, about 0:00:01, 0.0 Wh"
    assert json.loads(said("--json"))["chunks"] == 2
    assert IndexVersion.objects.count() == 1
