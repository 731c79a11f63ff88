"""Joins hits that follow each other in a document, and lets a hit grow to its section."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

MOST_TOKENS = 800


@dataclass(frozen=True)
class Piece:
    """One chunk as a place: the `ordinal`-th of its `text` (a revision cut in one way)."""

    chunk: int
    text: tuple[int, int]
    ordinal: int
    tokens: int
    section: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """Chunks that follow each other: `best` is the hit of the highest rank among them."""

    best: int
    pieces: tuple[Piece, ...]

    @property
    def tokens(self) -> int:
        return sum(piece.tokens for piece in self.pieces)


def joined(hits: Sequence[Piece], most_tokens: int = MOST_TOKENS) -> list[Run]:
    """The hits, best first, those that follow each other as one, of at most `most_tokens` together."""
    return _grown(hits, hits, lambda _hit, _beside: True, most_tokens)


def widened(
    hits: Sequence[Piece], others: Iterable[Piece], most_tokens: int = MOST_TOKENS, join: bool = True
) -> list[Run]:
    """The hits with what stands around them in their section, of at most `most_tokens` together.

    `others` are the chunks that may be added. With `join` also hits of other sections that follow.
    """
    ranked = {piece.chunk for piece in hits}

    def fits(hit: Piece, beside: Piece) -> bool:
        return hit.section == beside.section or (join and beside.chunk in ranked)

    return _grown(hits, [*hits, *others], fits, most_tokens)


def _grown(
    hits: Sequence[Piece],
    available: Iterable[Piece],
    fits: Callable[[Piece, Piece], bool],
    most_tokens: int,
) -> list[Run]:
    """In the order of rank, each hit that no run has yet begins one, and takes what stands beside it."""
    rank = {piece.chunk: place for place, piece in reversed(list(enumerate(hits)))}
    free = {(piece.text, piece.ordinal): piece for piece in available}
    runs: list[Run] = []
    for hit in hits:
        if (hit.text, hit.ordinal) in free:
            run = _run(hit, free, rank, fits, most_tokens)
            for piece in run.pieces:
                del free[piece.text, piece.ordinal]
            runs.append(run)
    return runs


def _run(
    hit: Piece,
    free: Mapping[tuple[tuple[int, int], int], Piece],
    rank: Mapping[int, int],
    fits: Callable[[Piece, Piece], bool],
    most_tokens: int,
) -> Run:
    """Grows by the better of its two neighbours (the one after it, among equals) while there is room."""
    pieces, left = [hit], most_tokens - hit.tokens
    while True:
        beside = [
            piece
            for place in (pieces[-1].ordinal + 1, pieces[0].ordinal - 1)
            if (piece := free.get((hit.text, place))) and fits(hit, piece) and piece.tokens <= left
        ]
        if not beside:
            return Run(hit.chunk, tuple(pieces))
        taken = min(beside, key=lambda piece: rank.get(piece.chunk, len(rank)))
        pieces = [*pieces, taken] if taken.ordinal > hit.ordinal else [taken, *pieces]
        left -= taken.tokens
