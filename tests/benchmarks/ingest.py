"""End-to-end ingestion beside other pipelines, in one run: `make bench-ingest`.

Prints a table of ratios and writes it to var/bench/ingest.json. What is measured, side by side:
upload to searchable through a real site (its own folder, its own processes); the chosen backend bare;
`SentenceTransformer.encode` at its defaults; txtai's index; Haystack's pipeline into pgvector. Then what a
document costs beside its embedding with few and with many chunks stored, how fast files are parsed, how well the
chosen number format ranks, how much memory all that takes, and which of the limits are kept: exit status 1 if one
is broken.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kb.core import environment
from kb.core.embedded import layout
from kb.core.environment import ROOT
from retrieval.beir import Dataset, read_beir
from retrieval.chunking import chunk, render
from retrieval.embedders.backends import Backend
from retrieval.embedders.local import LocalEmbedder, default_directory, default_tokenizer
from retrieval.loading.loaders import load
from tests.benchmarks.ingest_clauses import judged, of_encode
from tests.benchmarks.parsing import beside_the_reading, long_pdf, parse_rates
from tests.benchmarks.quality import Vectors, judged_first, judged_queries, ndcg_at_10
from tests.live import Site, until
from tests.places import shared_data

RESULT = ROOT / "var" / "bench" / "ingest.json"
FIRST = 400  # documents, of which the cost per document is measured: about a thousand chunks
MANY = 100_000  # chunks stored, with which it is measured again
FEW_FILES, MANY_FILES = 2_000, 20_000  # put in by one command, whose memory is compared


def scifact() -> Dataset:
    folder = shared_data() / "scifact"
    if not folder.is_dir():
        sys.exit(f"There is no {folder}: set KB_TEST_DATA to the folder that holds SciFact.")
    return read_beir(folder)


def texts(dataset: Dataset) -> dict[str, str]:
    """File name to Markdown, of SciFact's documents."""
    return {
        f"{name}.md": f"# {dataset.corpus[name].title}\n\n{dataset.corpus[name].text}\n"
        for name in judged_first(dataset)
    }


def rendered(files: dict[str, str]) -> tuple[list[str], list[str]]:
    """What the site embeds for these files, in the order of the files, and the document of each."""
    tokenizer, inputs, owners = default_tokenizer(), [], []
    for name, content in files.items():
        document = load(content.encode(), name)
        for span in chunk(document, tokenizer):
            passage = document.text[span.start : span.end]
            inputs.append(render(document.title, span.heading_path, passage))
            owners.append(Path(name).stem)
    return inputs, owners


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# Ours ---------------------------------------------------------------------------------------------


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    running = Site(folder, EMBED_BACKEND="auto")
    running.start()
    try:
        yield running
    finally:
        running.stop()


def ingested(running: Site, files: dict[str, str], folder: Path) -> float:
    """Seconds from the start of the command to the last document that can be found."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    report: dict[str, Any] = {}
    seconds = timed(lambda: report.update(running.manage("ingest", str(folder), "--wait")))
    if report["failed"] or report["states"] != {"ready": len(files)}:
        raise AssertionError(f"not everything got ready: {report}")
    return seconds


def warm(running: Site, folder: Path) -> None:
    """Waits until the model is loaded and its backend chosen: a site that has run before begins here."""
    ingested(running, {"warm.md": "# Warm\n\nA text to begin with.\n"}, folder)
    until(lambda: running.sql("SELECT FROM indexes_calibration"), "the calibration", 180)
    ingested(running, {"warmer.md": "# Warmer\n\nAnother text to begin with.\n"}, folder.with_name("warmer"))


def chosen(running: Site) -> dict[str, Any]:
    [(backend, number_format, batch_size, measured)] = running.sql(
        "SELECT backend, number_format, batch_size, measured FROM indexes_calibration"
    )
    return {
        "backend": backend,
        "number_format": number_format,
        "batch_size": batch_size,
        "measured": measured,
    }


def stored(running: Site) -> int:
    [(version,)] = running.sql("SELECT live_version_id FROM indexes_index WHERE is_default")
    [(count,)] = running.sql(f"SELECT count(*) FROM embedding_{version}")
    return int(count)


def overhead(running: Site, files: dict[str, str], folder: Path) -> float:
    """Milliseconds a document takes whose chunks were all embedded before: everything but the model."""
    # Other files with the same passages.
    probes = {f"{folder.name}-{name}": content + "\n" * len(folder.name) for name, content in files.items()}
    ingested(running, probes, folder)
    [(seconds,)] = running.sql(
        "SELECT extract(epoch FROM max(finished_at) - min(started_at)) FROM documents_documentstage stage "
        "JOIN documents_document document ON document.id = stage.document_id WHERE starts_with(filename, %s)",
        folder.name,
    )
    return 1000 * float(seconds) / len(probes)


def parsed(running: Site, file: Path) -> None:
    """Puts the file in and waits until its text is there."""
    running.manage("ingest", str(file))
    done = "SELECT FROM documents_document WHERE filename = %s AND state IN ('embedding', 'ready')"
    until(lambda: running.sql(done, file.name), f"{file.name} to be parsed", 300)


def fill(running: Site, chunks: int) -> None:
    environment = running.environment | {"DJANGO_SETTINGS_MODULE": "kb.settings"}
    command = [sys.executable, "-m", "tests.benchmarks.corpus", str(chunks)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def peak_memory(running: Site) -> dict[str, float]:
    """Megabytes each process of the workers held at most."""
    peaks = {}
    for name in ("parse", "embed"):
        (pid,) = running.pids(name)
        peaks[name] = max(high_water(member) for member in (pid, *descendants(pid)))
    return peaks


def descendants(pid: int) -> Iterator[int]:
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        yield child
        yield from descendants(child)


def high_water(pid: int) -> float:
    """Megabytes; 0 of a process that has just ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


# Others -------------------------------------------------------------------------------------------


class Plain:
    """`SentenceTransformer.encode` in float32, at its defaults."""

    def __init__(self, warm: Sequence[str]) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(str(default_directory()), device="cpu")
        self.model.encode(list(warm))

    def passages(self, inputs: Sequence[str]) -> Vectors:
        return np.asarray(self.model.encode(list(inputs), show_progress_bar=False))

    queries = passages


class Bare:
    """The chosen backend on batches sorted by length, without anything around it."""

    def __init__(self, backend: dict[str, Any], warm: Sequence[str]) -> None:
        chosen = Backend(backend["backend"], backend["number_format"])
        self.model = LocalEmbedder(backend=chosen, batch_size=backend["batch_size"])
        self.model.embed(list(warm), "document")

    def passages(self, inputs: Sequence[str]) -> Vectors:
        longest_first = sorted(range(len(inputs)), key=lambda place: -len(inputs[place]))
        vectors = self.model.embed([inputs[place] for place in longest_first], "document")
        return vectors[np.argsort(longest_first)]

    def queries(self, questions: Sequence[str]) -> Vectors:
        return self.model.embed(list(questions), "query")


def txtai_index(inputs: Sequence[str]) -> Callable[[], object]:
    from txtai import Embeddings

    embeddings = Embeddings(path=str(default_directory()), content=True, gpu=False)
    embeddings.index(inputs[:16])
    return lambda: embeddings.index(enumerate(inputs))


def haystack_pipeline(files: dict[str, str], running: Site) -> Callable[[], object]:
    """Its cleaner, splitter, embedder and writer, into a table of the same PostgreSQL."""
    from haystack import Document, Pipeline
    from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
    from haystack.components.writers import DocumentWriter
    from haystack.utils import Secret
    from haystack_integrations.components.embedders.sentence_transformers import (
        SentenceTransformersDocumentEmbedder,
    )
    from haystack_integrations.document_stores.pgvector import PgvectorDocumentStore

    password = layout.password_file(running.home)
    where = (
        f"host={layout.sockets(running.home)} user={layout.USER} dbname={layout.DATABASE} passfile={password}"
    )
    running.sql("CREATE SCHEMA IF NOT EXISTS haystack")
    store = PgvectorDocumentStore(
        connection_string=Secret.from_token(where),
        create_extension=False,
        schema_name="haystack",
        embedding_dimension=384,
        vector_type="halfvec",
        search_strategy="hnsw",
        recreate_table=True,
    )
    embedder = SentenceTransformersDocumentEmbedder(model=str(default_directory()), progress_bar=False)
    embedder.warm_up()
    pipeline = Pipeline()
    pipeline.add_component("cleaner", DocumentCleaner())
    pipeline.add_component("splitter", DocumentSplitter(split_by="word", split_length=130, split_overlap=0))
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("cleaner", "splitter")
    pipeline.connect("splitter", "embedder")
    pipeline.connect("embedder", "writer")
    documents = [Document(content=content, meta={"name": name}) for name, content in files.items()]
    return lambda: pipeline.run({"cleaner": {"documents": documents}})


# Many files ---------------------------------------------------------------------------------------


def memory_growth(running: Site, folder: Path) -> float:
    """What `manage.py ingest` of 20,000 files holds at most, as a multiple of what it does for 2,000.

    Into a paused collection: neither does it wait then, nor do the workers read them.
    """
    running.manage("work", "pause", "--collection", "library")
    few, many = (ingest_peak(running, folder / str(count), count) for count in (FEW_FILES, MANY_FILES))
    say(f"ingest of {FEW_FILES:,} files held {few:.0f} MB, of {MANY_FILES:,} files {many:.0f} MB")
    return many / few


def ingest_peak(running: Site, folder: Path, count: int) -> float:
    """Megabytes."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.txt").write_text(f"File {number} of {count} files.\n")
    command = [sys.executable, "manage.py", "ingest", str(folder), "--json"]
    process = subprocess.Popen(command, cwd=ROOT, env=running.environment, stdout=subprocess.DEVNULL)
    # Not what the kernel says at its end: that counts what this process holds, of which it is a copy at first.
    peak = 0.0
    while process.poll() is None:
        peak = high_water(process.pid) or peak
        time.sleep(0.02)
    if process.returncode:
        raise AssertionError(f"the ingest of {count} files ended with {process.returncode}")
    return peak


# The run ------------------------------------------------------------------------------------------


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def measured(documents: int, folder: Path) -> dict[str, Any]:
    dataset = scifact()
    corpus = list(texts(dataset).items())
    files, first = dict(corpus[:documents]), dict(corpus[-FIRST:])
    inputs, owners = rendered(files)
    say(f"{len(files)} documents, {len(inputs)} chunks; each step takes minutes")
    rates: dict[str, float] = {}
    cost: dict[int, float] = {}
    with site(folder / "home") as running:
        warm(running, folder / "warm")
        ingested(running, first, folder / "first")
        cost[stored(running)] = overhead(running, first, folder / "few")
        before = stored(running)
        seconds = ingested(running, files, folder / "files")
        chunks = stored(running) - before
        backend = chosen(running)
        rates["footnote, upload to searchable"] = chunks / seconds
        say(f"footnote: {chunks / seconds:.1f} chunks/s")
        # The site's processes sleep while the others work: the same machine, one after the other.
        rates["haystack into pgvector"] = len(inputs) / timed(haystack_pipeline(files, running))
        fill(running, MANY)
        cost[stored(running)] = overhead(running, first, folder / "many")
        parsed(running, long_pdf(folder / "long.pdf"))
        peaks = peak_memory(running)
        growth = memory_growth(running, folder)
    ndcg: dict[str, float] = {}
    questions = judged_queries(dataset, [Path(name).stem for name in files])
    for name, label, encoder in (
        ("chosen", "chosen backend, bare", Bare(backend, inputs[:16])),
        ("float32", "SentenceTransformer.encode", Plain(inputs[:16])),
    ):
        began = time.perf_counter()
        vectors = encoder.passages(inputs)
        rates[label] = len(inputs) / (time.perf_counter() - began)
        asked_for = encoder.queries(list(questions.values()))
        ndcg[name] = round(ndcg_at_10(dataset, owners, vectors, questions, asked_for), 4)
    rates["txtai index"] = len(inputs) / timed(txtai_index(inputs))
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "documents": len(files),
        "chunks": chunks,
        "backend": backend,
        "chunks_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "footnote_times": {
            name: round(rates["footnote, upload to searchable"] / rate, 3)
            for name, rate in rates.items()
            if not name.startswith("footnote")
        },
        "ms_per_document_beside_the_model": {str(chunks): round(ms, 1) for chunks, ms in cost.items()},
        "ndcg_at_10": ndcg | {"queries": len(questions)},
        "peak_mb": peaks,
        "ingest_mb_growth": round(growth, 3),
        "ms_beside_the_reading": beside_the_reading(folder),
        "parsing": parse_rates(folder),
    }


def table(result: dict[str, Any]) -> str:
    lines = [f"{result['documents']} documents, {result['chunks']} chunks, {result['machine']}"]
    lines.append(f"backend: {result['backend']['backend']}, {result['backend']['number_format']}")
    lines.append(f"{'':36}{'chunks/s':>10}{'footnote is':>14}")
    for name, rate in result["chunks_per_second"].items():
        times = result["footnote_times"].get(name)
        lines.append(f"{name:36}{rate:>10.1f}{f'{times:.2f} ×' if times else '':>14}")
    lines.append(f"{'':36}{'ms/document beside the model':>24}")
    for chunks, ms in result["ms_per_document_beside_the_model"].items():
        lines.append(f"{f'with {int(chunks):,} chunks stored':36}{ms:>24}")
    lines.append(f"{'':36}{'pages/s':>10}{'peak MB':>14}")
    for name, found in result["parsing"].items():
        lines.append(f"{name:36}{found['pages_per_second']:>10.1f}{found['peak_mb']:>14.0f}")
    lines += [f"{f'{name} worker':46}{peak:>14.0f}" for name, peak in result["peak_mb"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000, help="of SciFact; default: 2000")
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}
    with tempfile.TemporaryDirectory(prefix="footnote-bench-") as folder:
        result = measured(asked.documents, Path(folder))
    parse_mb = environment.number("PARSE_MEMORY_MB", 1)
    clauses = judged(result, of_encode(), parse_mb)
    result["clauses"] = [clause.as_dict() for clause in clauses]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False))
    told = "\n".join([table(result), *map(str, clauses)])
    sys.stdout.write(f"{told}\nWritten to {RESULT.relative_to(ROOT)}\n")
    if not all(clause.kept for clause in clauses):
        sys.exit(1)


if __name__ == "__main__":
    main()
