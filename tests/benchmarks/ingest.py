"""End-to-end ingestion beside other pipelines, in one run: `make bench-ingest`.

Prints a table of ratios and writes it to var/bench/ingest.json. What is measured, side by side:
upload to searchable through a real site (its own folder, its own processes); the chosen backend bare;
`SentenceTransformer.encode` at its defaults; txtai's index; Haystack's pipeline into pgvector. Then what a
document costs beside its embedding with few and with many chunks stored, how fast files are parsed, and how much
memory all that takes.
"""

import argparse
import io
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

from kb.core.embedded import layout
from kb.core.environment import ROOT
from retrieval.beir import read_beir
from retrieval.chunking import chunk, render
from retrieval.embedders.backends import Backend
from retrieval.embedders.local import LocalEmbedder, default_directory, default_tokenizer
from retrieval.loading import load
from tests.live import Site, until
from tests.places import shared_data

RESULT = ROOT / "var" / "bench" / "ingest.json"
LONG_PDF, PDF_PAGES = "long.pdf", 1000
FIRST = 400  # documents, of which the cost per document is measured: about a thousand chunks
MANY = 100_000  # chunks stored, with which it is measured again
SAMPLES = 3  # runs of the bare encoders, of which the fastest counts: the others were disturbed


def texts() -> dict[str, str]:
    """File name to Markdown, of SciFact's documents."""
    scifact = shared_data() / "scifact"
    if not scifact.is_dir():
        sys.exit(f"There is no {scifact}: set KB_TEST_DATA to the folder that holds SciFact.")
    corpus = read_beir(scifact).corpus
    return {f"{name}.md": f"# {entry.title}\n\n{entry.text}\n" for name, entry in corpus.items()}


def rendered(files: dict[str, str]) -> list[str]:
    """What the site embeds for these files, in the order of the files."""
    tokenizer, inputs = default_tokenizer(), []
    for name, content in files.items():
        document = load(content.encode(), name)
        spans = chunk(document, tokenizer)
        inputs += [
            render(document.title, span.heading_path, document.text[span.start : span.end]) for span in spans
        ]
    return inputs


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
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# Others -------------------------------------------------------------------------------------------


def plain_encode(inputs: Sequence[str]) -> Callable[[], object]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(default_directory()), device="cpu")
    model.encode(inputs[:16])
    return lambda: model.encode(list(inputs), show_progress_bar=False)


def bare_encode(inputs: Sequence[str], backend: str, number_format: str, batch: int) -> Callable[[], object]:
    model = LocalEmbedder(backend=Backend(backend, number_format), batch_size=batch)
    longest_first = sorted(inputs, key=len, reverse=True)
    model.embed(longest_first[:16], "document")
    return lambda: model.embed(longest_first, "document")


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


# Parsing ------------------------------------------------------------------------------------------

ALONE = """
import json, sys, time
from pathlib import Path
from retrieval.loading import load
load(b"Words of some language, so that what is loaded once is loaded. " * 5, "warm.txt")
for path in map(Path, sys.argv[1:]):
    began = time.perf_counter()
    loaded = load(path.read_bytes(), path.name)
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    pages = len(loaded.pages) or max(1, len(loaded.text) // 3000)
    print(json.dumps({"pages": pages, "seconds": seconds, "peak_mb": peak}))
"""


def parse_rates(folder: Path) -> dict[str, dict[str, float]]:
    """Pages a second and peak memory of each format; a page without page breaks has 3,000 characters."""
    files: dict[str, Path] = {"pdf, 1,000 pages": folder / LONG_PDF}
    demo = ROOT / "kb" / "core" / "demo"
    for path in sorted(demo.rglob("*"), key=lambda path: path.stat().st_size):
        if path.suffix in {".md", ".rst", ".html", ".txt", ".docx", ".pdf"}:
            files[path.suffix[1:]] = path  # the largest of each remains
    return {name: parsed_alone(path) for name, path in files.items()}


def parsed_alone(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    return {"pages_per_second": round(found["pages"] / found["seconds"], 1), "peak_mb": found["peak_mb"]}


def long_pdf(path: Path) -> Path:
    from reportlab.pdfgen.canvas import Canvas

    target = io.BytesIO()
    canvas = Canvas(target)
    for page in range(PDF_PAGES):
        for line in range(50):
            canvas.drawString(
                72, 760 - 14 * line, f"Page {page}, line {line}: words that stand on this page here."
            )
        canvas.showPage()
    canvas.save()
    path.write_bytes(target.getvalue())
    return path


# The run ------------------------------------------------------------------------------------------


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def measured(documents: int, folder: Path) -> dict[str, Any]:
    corpus = list(texts().items())
    files, first = dict(corpus[:documents]), dict(corpus[-FIRST:])
    inputs = rendered(files)
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
        parsed(running, long_pdf(folder / LONG_PDF))
        peaks = peak_memory(running)
    bare = bare_encode(inputs, backend["backend"], backend["number_format"], backend["batch_size"])
    rates["chosen backend, bare"] = len(inputs) / timed(bare)
    rates["SentenceTransformer.encode"] = len(inputs) / timed(plain_encode(inputs))
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
        "peak_mb": peaks,
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
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False))
    sys.stdout.write(f"{table(result)}\nWritten to {RESULT.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
