"""Two real models make two spaces: from one to the other, to fewer dimensions of it, and back."""

import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kb.core.models import Collection, User
from kb.documents.models import Chunk
from kb.indexes import auditing, deriving, embedding, embedding_queue, embedding_table, providers
from kb.indexes.dense import PostgresDense
from kb.indexes.model_actions import NewModel, register, try_out
from kb.indexes.models import Index, IndexVersion
from kb.indexes.version_actions import Wanted, build, promote, rollback
from kb.search.engine import search
from retrieval.embedders.model_files import DEFAULT_MODEL
from retrieval.embedders.principal import principal
from retrieval.protocols import Scope
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked
from tests.kb.indexes.versions import built, report

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

TEXTS = [
    f"{subject} {verb} {place}."
    for subject, verb, place in product(
        ("The committee", "A vaccine trial", "The old lighthouse", "Her sourdough", "The database index"),
        ("was described in detail for", "failed unexpectedly near", "became famous across"),
        ("northern Europe", "the university hospital", "a small fishing village", "many software teams"),
    )
]


@pytest.fixture(autouse=True)
def backend(settings: Any) -> None:
    settings.EMBED_BACKEND, settings.EMBED_THREADS = "torch-float32", 1


def test_two_spaces_and_a_part_of_one(
    alice: User, index: Index, version: IndexVersion, collection: Collection, tmp_path: Path
) -> None:
    chunked(version, collection, TEXTS)
    embed_all(version, Counting(version))
    published = register(None, NewModel(DEFAULT_MODEL))
    variant = register(None, NewModel(str(principal(tmp_path / "principal", TEXTS, 48)), matryoshka=(32, 16)))
    assert (published.dimensions, variant.dimensions, variant.max_tokens) == (384, 48, 256)
    assert published.weights_sha256 != variant.weights_sha256
    assert try_out(variant).ok

    first = built(build(None, index, Wanted(model=published)))
    report(first)
    promote(None, first)
    second = built(build(None, index, Wanted(model=variant)))
    third = built(build(None, index, Wanted(model=variant, dimensions=32, derive=False)))
    report(second)
    promote(None, second)
    assert [one.state for one in (first, second, third)] == ["validating"] * 3  # as they were built
    found = search(alice, "bread that became well known")
    assert found.query.version == second
    assert any("sourdough" in text for text in near(second, collection, "a homemade loaf of bread"))

    fourth = build(None, index, Wanted(dimensions=32))
    assert fourth.derived_from == second
    began = time.perf_counter()
    after: int | None = 0
    while after is not None:
        after = deriving.derive_portion(fourth, second, after)
    derived = time.perf_counter() - began
    same_as(third, fourth, collection)

    rest = chunked(third, collection, [f"{text} Again." for text in TEXTS])
    began = time.perf_counter()
    embedding.embed_for(third, 600)
    embedded = time.perf_counter() - began
    assert embedded / rest.chunks.count() > 50 * derived / len(TEXTS)

    rollback(None, index)
    assert search(alice, "bread that became well known").query.version == first
    embedding_queue.enqueue_missing(first)
    built(fourth)
    for one in IndexVersion.objects.maintained().select_related("index", "model"):
        embedding_queue.enqueue_missing(one)
    assert [one for one in auditing.audit() if one.invariant == 6] == []


def test_weights_have_a_name(tmp_path: Path) -> None:
    """The variant's own layer counts as weights, too."""
    first = register(None, NewModel(str(principal(tmp_path / "a", TEXTS, 32))))
    second = register(None, NewModel(str(principal(tmp_path / "b", TEXTS[::-1][:40], 32))))
    assert first.weights_sha256 != second.weights_sha256


def near(version: IndexVersion, collection: Collection, question: str) -> list[str]:
    """The texts of the three nearest chunks."""
    (query,) = providers.embedder_for(version).embed([question], "query")
    found = PostgresDense(version).nearest(query, Scope((collection.pk,)), 3)
    return list(Chunk.objects.filter(pk__in=found.ids).values_list("text", flat=True))


def same_as(one: IndexVersion, other: IndexVersion, collection: Collection) -> None:
    """Both give the same neighbours with the same scores, up to the rounding of half precision."""
    assert embedding_table.count(one) == embedding_table.count(other) == len(TEXTS)
    (query,) = providers.embedder_for(one).embed(["bread that became well known"], "query")
    nearest = [PostgresDense(each).nearest(query, Scope((collection.pk,)), 10) for each in (one, other)]
    np.testing.assert_allclose(nearest[0].scores, nearest[1].scores, atol=2e-3)
    assert len(set(nearest[0].ids) & set(nearest[1].ids)) >= 9
