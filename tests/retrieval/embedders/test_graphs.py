"""Converted graphs are kept whole, found again, and made anew when they would not fit."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedders import graphs
from retrieval.embedders.backends import OPENVINO
from retrieval.embedders.local import LocalEmbedder
from retrieval.embedders.model_files import weights_sha256
from tests.retrieval.embedders.tiny import tiny_model

TEXTS = ["cats sleep", "the database of vectors is a database"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def vectors(tiny: Path, cache: Path) -> np.ndarray:
    return LocalEmbedder(tiny, backend=OPENVINO, cache=cache, strict=True).embed(TEXTS, "document")


def refuse(directory: Path) -> graphs.Converted:
    raise AssertionError("It was converted although it is kept")


def test_what_is_kept_is_read_and_gives_the_same(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vectors(tiny, tmp_path)
    monkeypatch.setattr(graphs, "convert", refuse)
    np.testing.assert_array_equal(vectors(tiny, tmp_path), first)
    (kept,) = tmp_path.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == [
        "facts.json",
        "graph.bin",
        "graph.xml",
        "tokenizer.json",
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("graph.xml", "<net"), ("facts.json", "{"), ("facts.json", "{}")]
)
def test_a_damaged_one_is_made_anew(tiny: Path, tmp_path: Path, name: str, content: str) -> None:
    first = vectors(tiny, tmp_path)
    (kept,) = tmp_path.iterdir()
    (kept / name).write_text(content)
    np.testing.assert_array_equal(vectors(tiny, tmp_path), first)
    assert json.loads((kept / "facts.json").read_text())["dimensions"] == 16


def test_other_weights_settings_or_packages_have_another_key(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_model(tmp_path, seed=1)
    digest = weights_sha256(tiny)
    assert graphs.key(tiny, digest) != graphs.key(other, weights_sha256(other))
    before = graphs.key(tiny, digest)
    monkeypatch.setattr(graphs, "version", lambda package: "0")
    assert graphs.key(tiny, digest) != before
    (other / "config_sentence_transformers.json").write_text("{}")
    assert graphs.key(other, digest) != graphs.key(tiny, digest)


def test_graphs_of_older_packages_are_removed(tiny: Path, tmp_path: Path) -> None:
    weights = weights_sha256(tiny)[:16]
    (tmp_path / f"{weights}-of-older-packages").mkdir()
    (tmp_path / "another-model").mkdir()
    vectors(tiny, tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {graphs.key(tiny, weights_sha256(tiny)), "another-model"}


def test_a_folder_that_cannot_be_written_costs_time_only(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert vectors(tiny, tmp_path / "file" / "graphs").shape == (2, 16)
    assert "could not be kept" in caplog.text


def test_of_several_at_once_one_converts(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert, times = graphs.convert, []

    def counted(directory: Path) -> graphs.Converted:
        times.append(directory)
        return convert(directory)

    monkeypatch.setattr(graphs, "convert", counted)
    digest = weights_sha256(tiny)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: graphs.graph_of(tiny, digest, tmp_path / "graphs"), range(3)))
    assert times == [tiny]
    assert [each.facts for each in found] == [found[0].facts] * 3


def test_where_nothing_can_be_locked_it_is_converted_all_the_same(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(descriptor: int, operation: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(graphs.fcntl, "flock", refused)
    assert vectors(tiny, tmp_path).shape == (2, 16)
    assert "cannot be locked: no locks available" in caplog.text


def test_of_two_that_convert_at_once_one_stays(tiny: Path, tmp_path: Path) -> None:
    made = graphs.convert(tiny)
    graphs.keep(made, tmp_path / "graphs" / "key")
    graphs.keep(made, tmp_path / "graphs" / "key")
    assert [path.name for path in (tmp_path / "graphs").iterdir()] == ["key"]
    assert graphs.read(tmp_path / "graphs" / "key").facts == made.facts
