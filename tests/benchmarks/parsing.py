"""How fast files of each format are read, what memory that takes, and what reading in a child adds."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from kb.core.environment import ROOT
from retrieval.loading.isolation import IsolatedLoader
from retrieval.loading.loaders import load
from tests.retrieval.loading.conftest import make_epub, make_xlsx, zipped

PDF_PAGES = 1000
SMALL_FILES = 60  # read one after the other, by the one way and by the other
ROWS = 5_000
SUFFIXES = {".md", ".rst", ".html", ".txt", ".docx", ".pdf"}

ALONE = """
import json, sys, time
from pathlib import Path
from retrieval.loading.loaders import load
from retrieval.loading.archives import Entry, unpack

def texts(path):
    if path.suffix != ".zip":
        return [load(path.read_bytes(), path.name)]
    return [load(entry.content, entry.name) for entry in unpack(path) if isinstance(entry, Entry)]

load(b"Words of some language, so that what is loaded once is loaded. " * 5, "warm.txt")
path = Path(sys.argv[1])
began = time.perf_counter()
loaded = texts(path)
seconds = time.perf_counter() - began
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
pages = sum(len(each.pages) or max(1, len(each.text) // 3000) for each in loaded)
print(json.dumps({"pages": pages, "seconds": seconds, "peak_mb": peak}))
"""


def parse_rates(folder: Path) -> dict[str, dict[str, float]]:
    """Pages a second and peak memory of each format; a page without page breaks has 3,000 characters."""
    files = {"pdf, 1,000 pages": long_pdf(folder / "long.pdf")}
    demo = sorted((ROOT / "kb/core/demo").rglob("*"), key=lambda path: path.stat().st_size)
    files |= {
        path.suffix[1:]: path for path in demo if path.suffix in SUFFIXES
    }  # the largest of each remains
    for name, content in made([path for path in demo if path.suffix in SUFFIXES]).items():
        path = folder / name
        path.write_bytes(content)
        files[path.suffix[1:]] = path
    return {name: parsed_alone(path) for name, path in files.items()}


def parsed_alone(path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    return {"pages_per_second": round(found["pages"] / found["seconds"], 1), "peak_mb": found["peak_mb"]}


def made(demo: list[Path]) -> dict[str, bytes]:
    """Files of the formats that the demo corpus has none of, as large as people have them."""
    rows: list[list[object]] = [["Name", "Year", "What was found"]]
    rows += [[f"Person {row}", 1800 + row % 200, f"Finding {row} of many, in words"] for row in range(ROWS)]
    text = " ".join(f"Sentence {number} stands in this long text." for number in range(ROWS))
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    chapter = f"<html><body><h1>Long</h1><p>{text}</p></body></html>"
    mail = f"From: a@example.org\r\nSubject: Long\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"
    return {
        "made.xlsx": make_xlsx(("Findings", rows)),
        "made.csv": "\n".join(",".join(map(str, row)) for row in rows).encode(),
        "made.json": json.dumps(records).encode(),
        "made.jsonl": "\n".join(map(json.dumps, records)).encode(),
        "made.eml": mail.encode(),
        "made.epub": make_epub(**{"OPS/text/one.xhtml": chapter}),
        "made.pptx": slides(100),
        "made.py": b"\n\n".join(path.read_bytes() for path in sorted((ROOT / "kb").rglob("*.py"))),
        "made.zip": zipped({path.name: path.read_bytes() for path in demo}),
    }


def slides(count: int) -> bytes:
    from pptx import Presentation

    deck = Presentation()
    for number in range(count):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"Slide {number}"
        slide.placeholders[1].text = "\n".join(f"Point {point} of slide {number}" for point in range(10))
    target = io.BytesIO()
    deck.save(target)
    return target.getvalue()


def long_pdf(path: Path) -> Path:
    from reportlab.pdfgen.canvas import Canvas

    if not path.exists():
        canvas = Canvas(str(path))
        for page in range(PDF_PAGES):
            for line in range(50):
                words = f"Page {page}, line {line}: words that stand on this page here."
                canvas.drawString(72, 760 - 14 * line, words)
            canvas.showPage()
        canvas.save()
    return path


def beside_the_reading(folder: Path) -> dict[str, float]:
    """Milliseconds that a small file takes longer in a child than in this process, by the kind of child.

    Markdown is read by a child that has read others before, HTML by a new one.
    """
    contents = {
        "small.md": b"# A small file\n\nWith a few words in it, of one language.\n",
        "small.html": b"<html><body><h1>A small file</h1><p>With a few words, of one language.</p></body></html>",
    }
    loader = IsolatedLoader()
    found = {}
    try:
        for name, content in contents.items():
            path = folder / name
            path.write_bytes(content)
            within = milliseconds(lambda path=path: load(path.read_bytes(), path.name))
            found[path.suffix[1:]] = round(
                milliseconds(lambda path=path: loader.load(path, path.name)) - within, 2
            )
    finally:
        loader.close()
    return found


def milliseconds(work: Callable[[], object]) -> float:
    """The median of many runs, after some that do not count."""
    times = []
    for _ in range(SMALL_FILES):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
        time.sleep(
            0.02
        )  # as long as writing a small document takes at least: the next child is forked meanwhile
    return median(times[SMALL_FILES // 6 :])
