"""Which number formats a version's vectors have, and when that is to be worried about."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from kb.core.models import Collection, User
from kb.indexes import embedding_table
from kb.indexes.embedding_table import Origin
from kb.indexes.lineage import Format, cosines, formats, lineage, mixed
from kb.indexes.models import Calibration, EmbeddingModel, Index, IndexVersion
from retrieval.embedders.backends import OPENVINO_BFLOAT16, TORCH_BFLOAT16
from retrieval.embedders.calibration import Measurement
from retrieval.embedders.measuring import to_json
from tests.conftest import ingest

EXACT = Format("torch", "float32", 10, 1.0)


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ([], ""),
        ([EXACT], ""),
        ([Format("strange", "int4", 10, None)], ""),
        ([Format("strange", "int4", 10, 0.9)], ""),
        ([EXACT, Format("openvino", "bfloat16", 5, 0.9999)], ""),
        ([EXACT, Format("openvino", "bfloat16", 5, 0.999)], ""),
        ([EXACT, Format("openvino", "int8", 5, 0.995)], "openvino int8"),
        ([EXACT, Format("torch-cuda", "float16", 5, None)], "torch-cuda float16"),
        ([Format("torch-cuda", "float16", 9, None), Format("a", "int8", 5, 0.9)], "torch-cuda float16, a int8"),
    ],
)  # fmt: skip
def test_what_may_stand_side_by_side(found: list[Format], named: str) -> None:
    assert bool(mixed(found)) == bool(named)
    assert named in mixed(found)


@pytest.fixture
def version(index: Index) -> IndexVersion:
    assert index.live_version is not None
    return index.live_version


def calibrated(model: EmbeddingModel, machine: str, *measured: Measurement) -> None:
    Calibration.objects.create(
        model=model, machine=machine, described=machine, backend="torch", number_format="float32", batch_size=8,
        measured=[{**to_json(one), "verdict": ""} for one in measured],
    )  # fmt: skip


def written(version: IndexVersion, first: int, count: int, backend: str, number_format: str) -> None:
    rows = [(first + number, 1, bytes([number])) for number in range(count)]
    vectors = np.eye(count, version.dimensions, dtype=np.float32)
    embedding_table.write(version, rows, vectors, Origin("here:1", backend, number_format))


def test_a_version_counts_its_formats(version: IndexVersion) -> None:
    assert formats(version) == []
    calibrated(version.model, "a", Measurement(OPENVINO_BFLOAT16, {8: 9.0}, 0.9997))
    calibrated(version.model, "b", Measurement(OPENVINO_BFLOAT16, {8: 9.0}, 0.9995))
    written(version, 1, 2, "torch", "float32")
    written(version, 10, 3, "openvino", "bfloat16")
    written(version, 20, 1, "torch-cuda", "float16")
    assert formats(version) == [
        Format("openvino", "bfloat16", 3, 0.9995),
        Format("torch", "float32", 2, 1.0),
        Format("torch-cuda", "float16", 1, None),
    ]


def test_the_worst_machine_counts_and_failures_do_not(version: IndexVersion) -> None:
    calibrated(version.model, "a", Measurement(TORCH_BFLOAT16, {}, None, "no"))
    assert cosines(version.model) == {}
    calibrated(version.model, "b", Measurement(TORCH_BFLOAT16, {8: 1.0}, 0.98))
    calibrated(version.model, "c", Measurement(TORCH_BFLOAT16, {8: 1.0}, 0.9999))
    assert cosines(version.model) == {("torch", "bfloat16"): 0.98}


def test_the_admin_shows_and_warns(
    as_user: Callable[..., Client], admin: User, version: IndexVersion
) -> None:
    def page() -> str:
        path = reverse("admin:indexes_indexversion_change", args=[version.pk])
        return as_user(admin).get(path).content.decode()

    written(version, 1, 2, "torch", "float32")
    assert "2 by torch in float32" in page()
    assert "may not be comparable" not in page()
    written(version, 10, 1, "torch-cuda", "float16")
    assert "cosine to float32 not measured" in page()
    assert "may not be comparable" in page()


def test_the_admin_shows_what_was_measured(
    as_user: Callable[..., Client], admin: User, version: IndexVersion, django_assert_max_num_queries: Any
) -> None:
    calibrated(
        version.model,
        "a machine",
        Measurement(OPENVINO_BFLOAT16, {8: 46.04, 16: 44.0}, 0.99997),
        Measurement(TORCH_BFLOAT16, {}, None, "this processor has neither AVX512-BF16 nor AMX"),
    )
    row = Calibration.objects.get()
    page = as_user(admin).get(reverse("admin:indexes_calibration_change", args=[row.pk])).content.decode()
    for shown in ("46.0", "8: 46.0, 16: 44.0", "0.99997", "a machine"):
        assert shown in page
    listed = as_user(admin).get(reverse("admin:indexes_calibration_changelist")).content.decode()
    assert "a machine" in listed
    assert as_user(admin).get(reverse("admin:indexes_calibration_add")).status_code == 403


def test_the_lineage_of_a_chunk_tells_how_exact_its_vector_is(
    as_user: Callable[..., Client], admin: User, collection: Collection, version: IndexVersion
) -> None:
    (chunk,) = ingest(admin, collection, "bees.md", "Bees dance.").chunks.all()
    (vector,) = lineage(chunk).vectors
    assert (vector.version_id, vector.cosine) == (version.pk, 1.0)
    page = as_user(admin).get(reverse("admin:documents_chunk_change", args=[chunk.pk])).content.decode()
    assert "cosine to float32 at least 1.00000" in page
    assert reverse("admin:indexes_indexversion_change", args=[version.pk]) in page
