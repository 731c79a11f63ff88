"""What `make bench-search` is held to: each clause with its number, its limit and whether it was kept."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.benchmarks.limits import Clause

# The names of rounds and engines, which tables and clauses share.
NOTHING_CACHED = "words, nothing cached"
BLOCKS_CACHED = "words, blocks cached"
OTHER_ENGINES = "words, other engines"
WITHOUT_EMBEDDING = "both arms"
THROUGH_THE_API = "through the API"
READERS_AT_ONCE = "16 readers at once"
ASKED_FIRST, ASKED_AGAIN = "SciFact, asked first", "SciFact, asked again"
EMBEDDING = "embedding one question"
FOOTNOTE = "Footnote"
FORMULA, ARITHMETIC = "arrays in memory, the formula in numpy", "arrays in memory, our arithmetic"
RANK_BM25, BM25S, TS_RANK = "rank_bm25", "bm25s", "ts_rank"
BARE, BY_MEANING, BY_WORDS, BOTH = "bare statement", "by meaning", "by words", "both"
FIRST, CACHED = "asked first", "vector cached"
IDLE, BUSY = "idle", "putting in"
CHOSEN = "chosen backend"
PUTTING_IN = "an open loop at a fifth of saturation"

Figures = Mapping[str, float]


def title(chunks: int, name: str) -> str:
    return f"{chunks:,} chunks: {name}"


def judged(result: Mapping[str, Any]) -> list[Clause]:
    """The clauses on what was measured; a part that did not run has none."""
    return [*of_words(result), *of_both(result), *of_the_api(result), *of_errors(result), *of_putting_in(result),
            *of_embedding(result)]  # fmt: skip


def at(result: Mapping[str, Any], chunks: int, name: str) -> Mapping[str, Figures]:
    found: Mapping[str, Figures] = result["milliseconds"].get(title(chunks, name), {})
    return found


def times(above: Figures, below: Figures, cut: str = "p50") -> float:
    return round(above[cut] / below[cut], 2)


def of_words(result: Mapping[str, Any]) -> Iterator[Clause]:
    last = result["sizes"][-1]
    for name, most in ((NOTHING_CACHED, 1.6), (BLOCKS_CACHED, 1.2)):
        if found := at(result, last, name):
            yield Clause(f"{name}: × the formula in memory", times(found[FOOTNOTE], found[FORMULA]), most)
            yield Clause(f"{name}: × our arithmetic in memory", times(found[FOOTNOTE], found[ARITHMETIC]))
    for name, least in ((RANK_BM25, 100.0), (TS_RANK, 12.0), (BM25S, None)):
        for chunks in reversed(result["sizes"]):
            if name in (found := at(result, chunks, OTHER_ENGINES)):
                named = title(chunks, f"{name} takes × our time by words")
                yield Clause(named, times(found[name], found[FOOTNOTE]), least=least)
                break


def of_both(result: Mapping[str, Any]) -> Iterator[Clause]:
    measured = {chunks: at(result, chunks, WITHOUT_EMBEDDING) for chunks in result["sizes"]}
    measured = {chunks: found for chunks, found in measured.items() if found}
    for chunks, found in measured.items():
        slower = max(found[BARE]["p50"], found[BY_WORDS]["p50"])
        yield Clause(
            title(chunks, "both arms, ms (1.3 × the slower raw arm + 4 ms)"),
            found[BOTH]["p50"],
            round(1.3 * slower + 4, 2),
        )
    if len(measured) > 1:
        smallest, *_, largest = measured.values()
        grown = times(largest[BOTH], smallest[BOTH], "p95")
        yield Clause("both arms: p95 at the largest size × at the smallest", grown, 3.0)


def of_the_api(result: Mapping[str, Any]) -> Iterator[Clause]:
    for chunks in result["sizes"]:
        if found := at(result, chunks, THROUGH_THE_API):
            yield Clause(title(chunks, "through the API, vector cached, ms"), found[CACHED]["p50"], 15.0)


def of_errors(result: Mapping[str, Any]) -> Iterator[Clause]:
    for name, errors in result["errors"].items():
        yield Clause(f"{name}: errors and answers of one arm", len(errors), 0)


def of_putting_in(result: Mapping[str, Any]) -> Iterator[Clause]:
    if found := result["milliseconds"].get(PUTTING_IN):
        yield Clause("putting in: p95 of searches × idle", times(found[BUSY], found[IDLE], "p95"), 1.5)
        yield Clause("putting in: locks waited for", result["putting in"]["locks"], 0)


def of_embedding(result: Mapping[str, Any]) -> Iterator[Clause]:
    if found := result["milliseconds"].get(EMBEDDING):
        most = 5.0 if result["AVX512-BF16"] else 8.0
        yield Clause("embedding one question, ms", found[CHOSEN]["p50"], most)
