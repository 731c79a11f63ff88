"""What a benchmark promises: each number beside its limit, kept or broken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limit:
    """The number called `name` is at most `bound`, or at least; where a run has no such number, it promises nothing."""

    name: str
    bound: float
    at_least: bool = False

    def kept(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Judged:
    """A limit and what was measured."""

    name: str
    value: float
    limit: str
    kept: bool

    def __str__(self) -> str:
        return f"  {self.name:52}{self.value:>10}{self.limit:>14}  {'kept' if self.kept else 'BROKEN'}"


def judged(found: Mapping[str, Any], limits: Sequence[Limit]) -> list[Judged]:
    return [
        Judged(
            limit.name,
            found[limit.name],
            f"{'at least' if limit.at_least else 'at most'} {limit.bound:g}",
            limit.kept(found[limit.name]),
        )
        for limit in limits
        if limit.name in found
    ]
