"""Hits that follow each other become one; a hit grows to its section, and no further than its bound."""

from hypothesis import given
from hypothesis import strategies as st

from retrieval.adjacency import Piece, joined, widened

TEXT = (1, 1)


def piece(
    ordinal: int, section: tuple[str, ...] = (), tokens: int = 100, text: tuple[int, int] = TEXT
) -> Piece:
    return Piece(1000 * text[0] + ordinal, text, ordinal, tokens, section)


def ordinals(runs: list) -> list[list[int]]:
    return [[piece.ordinal for piece in run.pieces] for run in runs]


def test_neighbours_join_where_the_better_one_stands() -> None:
    runs = joined([piece(4), piece(9), piece(5), piece(3)])
    assert ordinals(runs) == [[3, 4, 5], [9]]
    assert [run.best for run in runs] == [1004, 1009]
    assert runs[0].tokens == 300


def test_other_documents_are_no_neighbours() -> None:
    assert ordinals(joined([piece(1), piece(2, text=(2, 1)), piece(2, text=(1, 2))])) == [[1], [2], [2]]


def test_a_run_ends_where_there_is_no_room() -> None:
    assert ordinals(joined([piece(2), piece(1), piece(3), piece(4)], most_tokens=250)) == [[1, 2], [3, 4]]


def test_a_hit_larger_than_the_bound_stays_alone() -> None:
    assert ordinals(joined([piece(1, tokens=900), piece(2)])) == [[1], [2]]


@given(st.lists(st.integers(0, 12), unique=True), st.integers(50, 700))
def test_every_hit_is_in_one_run_and_each_run_is_unbroken(places: list[int], most: int) -> None:
    runs = joined([piece(place) for place in places], most)
    covered = [one for run in ordinals(runs) for one in run]
    assert sorted(covered) == sorted(places)
    for run in ordinals(runs):
        assert run == list(range(run[0], run[-1] + 1))
        assert len(run) * 100 <= max(most, 100)
    ranks = {1000 + place: rank for rank, place in enumerate(places)}
    assert [run.best for run in runs] == sorted((run.best for run in runs), key=ranks.__getitem__)
    for run in runs:
        assert run.best == min((one.chunk for one in run.pieces), key=ranks.__getitem__)


def test_a_hit_widens_to_its_section_alone() -> None:
    others = [piece(n, ("A",)) for n in (0, 1)] + [piece(n, ("B",)) for n in (2, 4)] + [piece(5, ("C",))]
    assert ordinals(widened([piece(3, ("B",))], others)) == [[2, 3, 4]]


def test_widening_stops_at_its_bound_after_what_follows() -> None:
    others = [piece(n) for n in (0, 1, 3, 4)]
    assert ordinals(widened([piece(2)], others, most_tokens=200)) == [[2, 3]]


def test_hits_of_one_section_widen_to_one_passage() -> None:
    assert ordinals(widened([piece(1), piece(3)], [piece(0), piece(2)])) == [[0, 1, 2, 3]]


def test_hits_of_the_next_section_join_only_where_wanted() -> None:
    hits = [piece(1, ("A",)), piece(2, ("B",))]
    assert ordinals(widened(hits, [])) == [[1, 2]]
    assert ordinals(widened(hits, [], join=False)) == [[1], [2]]
