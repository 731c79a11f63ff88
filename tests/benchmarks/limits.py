"""What a benchmark is held to: each number beside its limit, kept or broken."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Clause:
    """`value` may be `most`, or must be `least`; one with neither is only told."""

    name: str
    value: float
    most: float | None = None
    least: float | None = None

    @property
    def kept(self) -> bool | None:
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )

    def __str__(self) -> str:
        limit = f"≤ {self.most:g}" if self.most is not None else ""
        limit = f"≥ {self.least:g}" if self.least is not None else limit
        verdict = {True: "kept", False: "BROKEN", None: ""}[self.kept]
        return f"  {self.name:70}{self.value:>10.2f}{limit:>12}   {verdict}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"kept": self.kept}
