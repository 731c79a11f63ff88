"""Reads a labelled collection in BEIR's format: corpus.jsonl, queries.jsonl, qrels.tsv."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


class DatasetError(Exception):
    """A file is missing or malformed; the message names it, and the line."""


@dataclass(frozen=True)
class Entry:
    """A document to be found."""

    title: str
    text: str


@dataclass(frozen=True)
class Dataset:
    """`judgements` are grades by query and document; a grade of 0 means judged and not relevant.

    Judgements may name documents or queries that the files do not hold, as published ones do.
    """

    name: str
    corpus: Mapping[str, Entry]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]


def read_beir(directory: Path, split: str = "test") -> Dataset:
    """Judgements are read from qrels.tsv, or where that is missing from qrels/<split>.tsv."""
    qrels = directory / "qrels.tsv"
    if not qrels.exists() and (directory / "qrels").is_dir():
        qrels = directory / "qrels" / f"{split}.tsv"
    corpus = {key: Entry(title, text) for key, title, text in _rows(directory / "corpus.jsonl")}
    queries = {key: text for key, _, text in _rows(directory / "queries.jsonl")}
    return Dataset(directory.resolve().name, corpus, queries, _judgements(qrels))


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Id, title (empty where there is none) and text of each line."""
    seen: set[str] = set()
    for place, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{place}: this is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{place}: this is not a JSON object")
        key, title, text = (_field(place, row, name) for name in ("_id", "title", "text"))
        if key in seen:
            raise DatasetError(f"{place}: the _id {key!r} stands here a second time")
        seen.add(key)
        yield key, title, text


def _field(place: str, row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if name == "title" and value is None:
        return ""
    if name == "_id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or (name == "_id" and not value):
        raise DatasetError(f"{place}: {name!r} is missing or is not a string")
    return value


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    judgements: dict[str, dict[str, int]] = {}
    lines = _lines(path)
    next(lines, None)  # the header
    for place, line in lines:
        parts = line.split("\t")
        if len(parts) != 3:
            raise DatasetError(f"{place}: query-id, corpus-id and score are wanted, separated by tabs")
        query, document, grade = (part.strip() for part in parts)
        try:
            judgements.setdefault(query, {})[document] = int(grade)
        except ValueError as error:
            raise DatasetError(f"{place}: the score {grade!r} is not a whole number") from error
    return judgements


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, with the place to name in an error."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\n")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8: {error}") from error
