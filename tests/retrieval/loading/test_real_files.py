"""Files that parsers' own projects test with: each loads, or says truly why not; none takes the loader down."""

import csv
import random
from pathlib import Path

import pytest

from retrieval.loading import SUFFIXES, LoadError
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.loading.wire import verified
from retrieval.spans import LoadedText

SAMPLE = 60
REFUSED = {"broken", "encrypted", "needs_ocr", "unsupported"}
LIMITS = Limits(cpu_seconds=20, wall_seconds=40)


@pytest.fixture(scope="module")
def loader():
    made = IsolatedLoader(LIMITS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def paths(shared_data: Path) -> list[Path]:
    folder = shared_data / "files"
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.parent != folder and "_licenses" not in path.parts
    )


def outcome(loader: IsolatedLoader, path: Path) -> LoadedText | LoadError:
    try:
        return verified(loader.load(path, path.name))
    except LoadError as error:
        return error


def code(result: LoadedText | LoadError) -> str:
    return result.code if isinstance(result, LoadError) else "loaded"


def is_true(path: Path, result: LoadedText | LoadError) -> bool:
    """Whether a file may end like this: with a text that reads like one, or a code that fits its type."""
    if isinstance(result, LoadedText):
        shown = sum(character.isprintable() or character in "\n\t" for character in result.text)
        return shown > 0.98 * len(result.text) and result.text.count("\ufffd") <= 0.02 * len(result.text)
    if result.code == "unsupported":
        return path.suffix.lower() not in SUFFIXES and result.message.endswith(".")
    return result.code in REFUSED and path.suffix.lower() == ".pdf"


def test_a_sample(paths, loader):
    chosen = random.Random(20).sample(paths, min(SAMPLE, len(paths)))
    results = {path: outcome(loader, path) for path in chosen}
    assert {path: code(result) for path, result in results.items() if not is_true(path, result)} == {}
    assert sum(isinstance(result, LoadedText) for result in results.values()) > len(results) / 2


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_all(paths, loader):
    outcome(loader, paths[0])
    zygote = loader.zygote_pid
    wrong = {path: code(result) for path in paths if not is_true(path, result := outcome(loader, path))}
    assert wrong == {}
    assert loader.zygote_pid == zygote


def test_hazards(shared_data, loader):
    """Encrypted and damaged ones are told by their codes; those that open without a password load."""
    with (shared_data / "files" / "hazards.tsv").open(encoding="utf-8") as lines:
        hazards = [row for row in csv.DictReader(lines, delimiter="\t") if row["path"].endswith(".pdf")]
    wrong = {}
    for row in hazards:
        found = code(outcome(loader, shared_data / "files" / row["path"]))
        opens = "empty" in row["class"]
        expected = (
            {"loaded", "needs_ocr"} if opens else {"broken" if row["class"] == "corrupt" else "encrypted"}
        )
        if found not in expected:
            wrong[row["path"]] = found
    assert wrong == {}
    assert hazards
