"""A benchmark's promises are kept or broken by its numbers."""

import pytest

from tests.benchmarks.limits import Limit, judged


@pytest.mark.parametrize(
    ("limit", "value", "kept"),
    [
        (Limit("failed", 0), 0, True),
        (Limit("failed", 0), 1, False),
        (Limit("p95", 1.3), 1.3, True),
        (Limit("p95", 1.3), 1.31, False),
        (Limit("ratio", 50, at_least=True), 49.9, False),
        (Limit("ratio", 50, at_least=True), 50, True),
    ],
)
def test_a_promise(limit: Limit, value: float, kept: bool) -> None:
    [found] = judged({limit.name: value, "other": "x"}, [limit, Limit("not measured here", 1)])
    assert (found.value, found.kept) == (value, kept)
    assert ("BROKEN" in str(found)) is not kept
