"""Files that parsers' own projects test with: each loads, or says why not; none takes the loader down."""

import csv
import random
from pathlib import Path

import pytest

from retrieval.loading import SUFFIXES, LoadError
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.loading.wire import verified

SAMPLE = 60
EXPECTED = {"broken", "encrypted", "needs_ocr"}


@pytest.fixture(scope="module")
def loader():
    made = IsolatedLoader(Limits(cpu_seconds=10, wall_seconds=20))
    yield made
    made.close()


def outcome(loader: IsolatedLoader, path: Path) -> str:
    try:
        verified(loader.load(path, path.name))
    except LoadError as error:
        return error.code
    return "loaded"


def test_a_sample(shared_data, loader):
    paths = sorted(path for path in (shared_data / "files").rglob("*") if path.suffix.lower() in SUFFIXES)
    chosen = random.Random(20).sample(paths, min(SAMPLE, len(paths)))
    outcomes = {path.name: outcome(loader, path) for path in chosen}
    assert {name: code for name, code in outcomes.items() if code not in EXPECTED | {"loaded"}} == {}
    assert sum(code == "loaded" for code in outcomes.values()) > len(outcomes) / 2


def test_hazards(shared_data, loader):
    """Encrypted ones are told by their code; those that open without a password load."""
    with (shared_data / "files" / "hazards.tsv").open(encoding="utf-8") as lines:
        hazards = [row for row in csv.DictReader(lines, delimiter="\t") if row["path"].endswith(".pdf")]
    wrong = {}
    for row in hazards:
        found = outcome(loader, shared_data / "files" / row["path"])
        opens = "empty" in row["class"]
        expected = {"loaded", "needs_ocr"} if opens else EXPECTED - {"needs_ocr"}
        if found not in expected:
            wrong[row["path"]] = found
    assert wrong == {}
    assert hazards
