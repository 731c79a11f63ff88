"""What the measurements of ingestion must keep to, and whether they did."""

from dataclasses import dataclass
from typing import Any

from retrieval.embedders.machine import this_machine

WORKER_MB = 1536
PER_FILE_MS = 10  # beside the reading itself
NDCG_LOSS = 0.005
GROWTH = 1.2  # of the memory of a command with ten times the files
OF_BARE, OF_OTHERS = 0.85, 1.0
OF_ENCODE, OF_ENCODE_WITH_BFLOAT16 = 1.2, 1.9


@dataclass(frozen=True)
class Limit:
    """`measured` is at most `bound`, or at least, where more is better."""

    name: str
    measured: float
    bound: float
    more_is_better: bool = False

    @property
    def kept(self) -> bool:
        """What could not be measured is NaN, and not kept."""
        return self.measured >= self.bound if self.more_is_better else self.measured <= self.bound

    def row(self) -> dict[str, Any]:
        sign = "≥" if self.more_is_better else "≤"
        return {
            "name": self.name,
            "measured": round(self.measured, 4),
            "limit": f"{sign} {self.bound:g}",
            "kept": self.kept,
        }


def of_encode() -> float:
    """How many times `SentenceTransformer.encode` is asked for on this processor."""
    return OF_ENCODE_WITH_BFLOAT16 if "avx512_bf16" in this_machine().features else OF_ENCODE


def limits(result: dict[str, Any], encode: float, parse_mb: float) -> list[Limit]:
    """Of a result as `tests.benchmarks.ingest` writes it; `parse_mb` is what a parsing child may take."""
    times, ndcg = result["footnote_times"], result["ndcg_at_10"]
    return [
        Limit("× SentenceTransformer.encode", times["SentenceTransformer.encode"], encode, True),
        Limit("× txtai index", times["txtai index"], OF_OTHERS, True),
        Limit("× Haystack into pgvector", times["haystack into pgvector"], OF_OTHERS, True),
        Limit("× the chosen backend, bare", times["chosen backend, bare"], OF_BARE, True),
        Limit("nDCG@10 lost to float32", ndcg["float32"] - ndcg["chosen"], NDCG_LOSS),
        *(Limit(f"{name} worker, MB", peak, WORKER_MB) for name, peak in result["peak_mb"].items()),
        Limit("parsing one file, MB", max(one["peak_mb"] for one in result["parsing"].values()), parse_mb),
        *(
            Limit(f"ms beside the reading, {name}", ms, PER_FILE_MS)
            for name, ms in result["ms_beside_the_reading"].items()
        ),
        Limit("memory of 20,000 files : 2,000", result["ingest_mb_growth"], GROWTH),
    ]
