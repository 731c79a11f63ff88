"""What `make bench-ingest` is held to."""

from typing import Any

from retrieval.embedders.machine import this_machine
from tests.benchmarks.limits import Clause

WORKER_MB = 1536
PER_FILE_MS = 10  # beside the reading itself
NDCG_LOSS = 0.005
GROWTH = 1.2  # of the memory of a command with ten times the files
OF_BARE, OF_OTHERS = 0.85, 1.0
OF_ENCODE, OF_ENCODE_WITH_BFLOAT16 = 1.2, 1.9


def of_encode() -> float:
    """How many times `SentenceTransformer.encode` is asked for on this processor."""
    return OF_ENCODE_WITH_BFLOAT16 if "avx512_bf16" in this_machine().features else OF_ENCODE


def judged(result: dict[str, Any], encode: float, parse_mb: float) -> list[Clause]:
    """Of a result as `tests.benchmarks.ingest` writes it; `parse_mb` is what a parsing child may take."""
    times, ndcg = result["footnote_times"], result["ndcg_at_10"]
    return [
        Clause("× SentenceTransformer.encode", times["SentenceTransformer.encode"], least=encode),
        Clause("× txtai index", times["txtai index"], least=OF_OTHERS),
        Clause("× Haystack into pgvector", times["haystack into pgvector"], least=OF_OTHERS),
        Clause("× the chosen backend, bare", times["chosen backend, bare"], least=OF_BARE),
        Clause("nDCG@10 lost to float32", ndcg["float32"] - ndcg["chosen"], most=NDCG_LOSS),
        *(Clause(f"{name} worker, MB", peak, most=WORKER_MB) for name, peak in result["peak_mb"].items()),
        Clause(
            "parsing one file, MB", max(one["peak_mb"] for one in result["parsing"].values()), most=parse_mb
        ),
        *(
            Clause(f"ms beside the reading, {name}", ms, most=PER_FILE_MS)
            for name, ms in result["ms_beside_the_reading"].items()
        ),
        Clause("memory of 20,000 files : 2,000", result["ingest_mb_growth"], most=GROWTH),
    ]
