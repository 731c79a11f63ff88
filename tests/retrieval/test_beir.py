"""Labelled collections, and what is said of malformed ones."""

from pathlib import Path

import pytest

from retrieval.beir import DatasetError, Entry, read_beir

CORPUS = '{"_id": "1", "title": "One", "text": "first"}\n\n{"_id": 2, "text": "second"}\n'
QUERIES = '{"_id": "q", "text": "which?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq\t1\t2\nq\t2\t0\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text(CORPUS, "utf-8")
    (tmp_path / "queries.jsonl").write_text(QUERIES, "utf-8")
    (tmp_path / "qrels.tsv").write_text(QRELS, "utf-8")
    return tmp_path


def test_reads_all_three(directory: Path) -> None:
    dataset = read_beir(directory)
    assert dataset.name == directory.name
    assert dataset.corpus == {"1": Entry("One", "first"), "2": Entry("", "second")}
    assert dataset.queries == {"q": "which?"}
    assert dataset.judgements == {"q": {"1": 2, "2": 0}}


def test_reads_the_published_layout(directory: Path) -> None:
    (directory / "qrels").mkdir()
    (directory / "qrels.tsv").rename(directory / "qrels" / "test.tsv")
    assert read_beir(directory).judgements == {"q": {"1": 2, "2": 0}}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", CORPUS + "{oops\n", r"corpus\.jsonl, line 4: this is not JSON"),
        ("corpus.jsonl", "[1]\n", r"corpus\.jsonl, line 1: .*object"),
        ("corpus.jsonl", '{"_id": "1", "title": "x"}\n', r"line 1: 'text' is missing"),
        ("corpus.jsonl", '{"_id": "1", "title": 7, "text": ""}\n', r"line 1: 'title'"),
        ("corpus.jsonl", '{"text": "x"}\n', r"line 1: '_id' is missing"),
        ("corpus.jsonl", CORPUS + '{"_id": "1", "text": "x"}', r"line 4: the _id '1' .* second time"),
        ("queries.jsonl", '{"_id": "q"}\n', r"queries\.jsonl, line 1: 'text'"),
        ("qrels.tsv", QRELS + "q 1 1\n", r"qrels\.tsv, line 4: .*tabs"),
        ("qrels.tsv", QRELS + "q\t1\thigh\n", r"qrels\.tsv, line 4: the score 'high'"),
    ],
)
def test_a_malformed_line_is_named(directory: Path, file: str, content: str, message: str) -> None:
    (directory / file).write_text(content, "utf-8")
    with pytest.raises(DatasetError, match=message):
        read_beir(directory)


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(directory: Path, file: str) -> None:
    (directory / file).unlink()
    with pytest.raises(DatasetError, match=file):
        read_beir(directory)


def test_a_file_in_another_encoding_is_named(directory: Path) -> None:
    (directory / "corpus.jsonl").write_bytes(b'{"_id": "1", "text": "caf\xe9"}')
    with pytest.raises(DatasetError, match=r"corpus\.jsonl is not in UTF-8"):
        read_beir(directory)
