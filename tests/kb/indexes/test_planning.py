"""The graph where it is cheap, one by one where that is cheaper or surer."""

import pytest

from kb.indexes.planning import (
    CANDIDATE,
    MOST_EF_SEARCH,
    MOST_VISITED,
    TIES,
    Graph,
    OneByOne,
    Plan,
    blind,
    plan,
)


@pytest.mark.parametrize(
    ("total", "within", "among", "k", "expected"),
    [
        (20_000, 20_000, None, 10, Graph(200, 10 + TIES, 20_000)),
        (20_000, 10_000, None, 10, Graph(400, 10 + TIES, 10_000)),
        (20_000, 2_000, None, 10, OneByOne()),  # the list would cost more than to compare the 2,000
        (20_000, 200, None, 10, OneByOne()),
        (20_000, 20, None, 10, OneByOne()),
        (2_000, 2_000, None, 10, OneByOne(most=True)),  # a small table is read as a whole
        (2_000, 1_000, None, 10, OneByOne()),
        (0, 0, None, 10, OneByOne()),
        (20_000, 0, None, 10, OneByOne()),
        (300_000, 270_000, None, 100, Graph(240, 100 + TIES, 270_000)),
        (300_000, 15_000, None, 100, OneByOne()),
        (300_000, 90_000, None, 100, Graph(720, 100 + TIES, 90_000)),
        # A list that would be longer than may be: walked on until as many rows came as it would have had.
        (300_000, 30_000, None, 100, Graph(MOST_EF_SEARCH, 216, 30_000)),
        (1_000_000, 100_000, None, 200, Graph(MOST_EF_SEARCH, 416, 100_000)),
        # Chunks that a question restricts itself to: more rows come than are wanted, and those are picked.
        (300_000, 300_000, 150_000, 10, Graph(400, 52, 150_000)),
        (300_000, 150_000, 75_000, 10, Graph(800, 52, 75_000)),
        (300_000, 300_000, 900, 10, OneByOne()),
        (300_000, 1_000, 400_000, 10, OneByOne()),
    ],
)
def test_the_plan_goes_by_what_the_filter_leaves(
    total: int, within: int, among: int | None, k: int, expected: Plan
) -> None:
    assert plan(total, within, among, k, ef_search=100) == expected


@pytest.mark.parametrize("k", [1, 10, 100, 1000])
@pytest.mark.parametrize("within", [10, 1_000, 50_000, 1_000_000])
def test_a_walk_is_planned_only_where_it_costs_less(k: int, within: int) -> None:
    planned = plan(1_000_000, within, None, k, ef_search=100)
    if isinstance(planned, Graph):
        assert CANDIDATE * planned.ef_search < within
        assert planned.ef_search <= MOST_EF_SEARCH
    else:
        assert CANDIDATE * max(200, 2 * k + TIES) * 1_000_000 / within >= within


def test_without_sizes_the_graph_is_walked_and_given_chunks_are_compared() -> None:
    assert blind(None, 10, 100) == Graph(200, 200, MOST_VISITED)
    assert blind(None, 300, 100) == Graph(616, 616, MOST_VISITED)
    assert blind(None, 10, 500) == Graph(500, 500, MOST_VISITED)
    assert blind(None, 100, 100) == Graph(216, 216, MOST_VISITED)
    assert blind(5, 10, 100) == OneByOne()
