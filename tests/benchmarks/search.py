"""Searching beside other engines, in one run: `make bench-search`.

Prints tables of times and the clauses with their limits, writes both to var/bench/search.json, and ends with status 1
if a clause is broken. On made-up corpora of growing size (see tests.benchmarks.corpus) in a site of its own, of which a
member asks the same questions at every size:

- words: the lexical arm beside the arithmetic over arrays in memory, rank_bm25, bm25s and PostgreSQL's ts_rank;
- both: both arms without embedding beside the bare statement, and sixteen readers at once;
- api: the whole way through the web server, the same;
- ingest: searches in an open loop while 5,000 chunks are put in;
- collections: the chunks spread over 1,000 collections, of which the member sees 900;
- real: SciFact end to end beside txtai and Haystack, and the embedding of one question.

"Nothing cached" means that our own cache of postings is empty; those of the database and the system are as they are.
Times are milliseconds of this machine; what counts is their ratios.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

from retrieval.embedders.machine import this_machine
from tests.benchmarks import clauses
from tests.benchmarks.loads import Api, figures, say, site
from tests.live import Site
from tests.places import ROOT

RESULT = ROOT / "var" / "bench" / "search.json"
SIZES = (10_000, 100_000, 300_000)
DOCUMENTS = 2_000  # of SciFact: all 5,183 would take the others four minutes each to embed
PARTS = ("words", "both", "api", "ingest", "collections", "real")
OWN_TURNS = {"ingest": 4, "collections": 5}  # of the questions' terms; the sizes have those before


class Report:
    """What was measured so far."""

    def __init__(self) -> None:
        self.result: dict[str, Any] = {
            name: {} for name in ("milliseconds", "corpus", "bytes_per_chunk", "errors", "seconds")
        }

    def add(self, rounds: Mapping[str, Mapping[str, Sequence[float]]], chunks: int = 0) -> None:
        for name, engines in rounds.items():
            title = clauses.title(chunks, name) if chunks else name
            self.result["milliseconds"][title] = {each: figures(taken) for each, taken in engines.items()}

    def crowd(self, chunks: int, name: str, taken: Sequence[float], rate: float, errors: list[str]) -> None:
        title = clauses.title(chunks, clauses.READERS_AT_ONCE)
        engines = self.result["milliseconds"].setdefault(title, {})
        engines[name] = figures(taken) | {"a second": round(rate, 1)}
        self.result["errors"][f"{title}, {name}"] = errors[:5]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        say(name)
        began = time.perf_counter()
        yield
        self.result["seconds"][name] = round(time.perf_counter() - began, 1)


# The parts ----------------------------------------------------------------------------------------


def made_up(folder: Path, sizes: Sequence[int], parts: Sequence[str]) -> dict[str, Any]:
    # One thread for the embedder, so that searches have a processor of their own.
    with site(folder, EMBED_THREADS="1") as running:
        django.setup()
        from tests.benchmarks.made_up import Made

        report, made = Report(), Made()
        api = Api(running, made.member.username)
        growing = {"words", "both", "api"}.intersection(parts)
        for turn, size in enumerate(sizes if growing else sizes[-1:]):
            if growing or "ingest" in parts:
                with report.part(f"{size:,} chunks: put in"):
                    made.grow(size)
                report.result["bytes_per_chunk"][f"{size:,} chunks"] = made.bytes_per_chunk()
                at_this_size(report, made, api, turn, parts)
        if "ingest" in parts:
            with report.part("ingest"):
                ingest(report, made, api, running)
        if "collections" in parts:
            with report.part("collections"):
                collections(report, made, api, sizes[-1])
    return report.result


def at_this_size(report: Report, made: Any, api: Api, turn: int, parts: Sequence[str]) -> None:
    from tests.benchmarks import arms, through_api, words

    size = len(made.ids)
    report.result["corpus"][f"{size:,} chunks"] = {
        "postings of a question, on average": words.mean_postings(made),
        "distinct terms of a chunk, on average": round(made.distinct_terms(), 1),
    }
    if "words" in parts:
        with report.part(f"{size:,} chunks: words"):
            report.add(words.rounds(made), size)
    if "both" in parts:
        with report.part(f"{size:,} chunks: both"):
            report.add(arms.rounds(made), size)
            report.crowd(size, clauses.BOTH, *arms.crowded(made))
    if "api" in parts:
        with report.part(f"{size:,} chunks: api"):
            report.add(through_api.rounds(made, api, turn), size)
            report.crowd(size, clauses.THROUGH_THE_API, *through_api.crowded(made, api, turn))


def ingest(report: Report, made: Any, api: Api, running: Site) -> None:
    from tests.benchmarks import through_api

    wanted = min(through_api.PUT_IN, len(made.ids))
    found = through_api.while_putting_in(made, api, running, wanted, OWN_TURNS["ingest"])
    report.add({clauses.PUTTING_IN: found.pop("milliseconds")})
    report.result["errors"][clauses.PUTTING_IN] = found.pop("errors")[:5]
    report.result["putting in"] = found


def collections(report: Report, made: Any, api: Api, chunks: int) -> None:
    from tests.benchmarks import arms, through_api

    scope = arms.many_collections(made, chunks)
    name = f"{arms.COLLECTIONS:,} collections, {arms.VISIBLE:,} visible: "
    turn = OWN_TURNS["collections"]
    rounds = arms.scattered(made, scope) | through_api.rounds(made, api, turn)
    report.add({name + each: engines for each, engines in rounds.items()})


def real(folder: Path, documents: int) -> dict[str, Any]:
    with site(folder) as running:
        django.setup()
        from tests.benchmarks import real_text

        report = Report()
        with report.part("real"):
            found = real_text.measured(running, documents)
            report.add(found.pop("milliseconds"))
    return report.result | {"real": found}


# The run ------------------------------------------------------------------------------------------


def apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """In a process of its own, since Django knows one site; in a folder that goes."""
    spawning = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="footnote-bench-") as folder,
        ProcessPoolExecutor(1, mp_context=spawning) as process,
    ):
        return process.submit(work, Path(folder) / "home", *arguments).result()


def measured(sizes: Sequence[int], documents: int, parts: Sequence[str]) -> dict[str, Any]:
    machine = this_machine()
    result: dict[str, Any] = Report().result | {
        "machine": str(machine),
        "AVX512-BF16": "avx512_bf16" in machine.features,
        "sizes": list(sizes),
    }
    began = time.perf_counter()
    if of_made_up := [part for part in parts if part != "real"]:
        join(result, apart(made_up, sizes, of_made_up))
    if "real" in parts:
        join(result, apart(real, documents))
    result["seconds"]["in all"] = round(time.perf_counter() - began, 1)
    result["clauses"] = [clause.as_dict() for clause in clauses.judged(result)]
    return result


def join(result: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, found in more.items():
        result.setdefault(name, {}).update(found)


def table(result: Mapping[str, Any]) -> str:
    lines = [result["machine"], f"{'':44}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}"]
    for title, engines in result["milliseconds"].items():
        lines.append(title)
        for name, found in engines.items():
            shown = "".join(f"{found[cut]:>10.2f}" for cut in ("p50", "p95", "p99"))
            more = f"   {found['a second']} a second" if "a second" in found else ""
            lines.append(f"  {name:42}{shown}{more}")
    for name in ("corpus", "bytes_per_chunk", "putting in", "real", "seconds"):
        lines += [
            f"\n{name.replace('_', ' ')}",
            *(f"  {what}: {it}" for what, it in result.get(name, {}).items()),
        ]
    return "\n".join([*lines, "\nclauses", *map(str, clauses.judged(result))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="chunks, ascending")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="of SciFact")
    parser.add_argument("--part", choices=PARTS, help="this one alone, written to a file of its own")
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}
    result = measured(asked.sizes, asked.documents, [asked.part] if asked.part else PARTS)
    written = RESULT.with_stem(f"search-{asked.part}") if asked.part else RESULT
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(json.dumps(result, indent=2, ensure_ascii=False))
    sys.stdout.write(f"{table(result)}\nWritten to {written.relative_to(ROOT)}\n")
    if any(clause["kept"] is False for clause in result["clauses"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
