"""What is evaluated: BEIR directories, samples of them, and the demo corpus with its judged questions."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import kb.core
from retrieval.beir import Dataset, Entry

DEMO = Path(kb.core.__file__).parent / "demo"
DISTRACTORS_PER_QUERY = 20
SEED = 20_240_501


@dataclass(frozen=True)
class Question:
    """A judged question about the demo corpus; an unanswerable one has no documents."""

    id: str
    text: str
    documents: tuple[str, ...]
    quotes: tuple[str, ...]
    kind: str


def judged(dataset: Dataset) -> dict[str, str]:
    """The queries that have a relevant document in the corpus, which the means are over."""
    return {
        query: dataset.queries[query]
        for query, grades in dataset.judgements.items()
        if query in dataset.queries
        and any(grade > 0 and doc in dataset.corpus for doc, grade in grades.items())
    }


def sampled(dataset: Dataset, limit: int) -> Dataset:
    """`limit` judged queries, all documents judged for them, and seeded distractors."""
    chance = random.Random(SEED)  # noqa: S311  # a sample, not a secret
    queries = judged(dataset)
    chosen = sorted(chance.sample(sorted(queries), min(limit, len(queries))))
    wanted = {doc for query in chosen for doc in dataset.judgements[query] if doc in dataset.corpus}
    others = sorted(set(dataset.corpus) - wanted)
    wanted |= set(chance.sample(others, min(len(others), DISTRACTORS_PER_QUERY * len(chosen))))
    return replace(
        dataset,
        corpus={doc: dataset.corpus[doc] for doc in sorted(wanted)},
        queries={query: queries[query] for query in chosen},
        judgements={query: dataset.judgements[query] for query in chosen},
    )


def as_file(entry: Entry) -> bytes:
    """A document of a collection as the pipeline takes it: a page with a title and paragraphs."""
    paragraphs = "".join(f"<p>{escape(part)}</p>\n" for part in entry.text.split("\n") if part.strip())
    return (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{escape(entry.title)}</title></head>'
        f"<body>\n{paragraphs}</body></html>"
    ).encode()


def files(corpus: Mapping[str, Entry]) -> Iterator[tuple[str, str, bytes]]:
    """BEIR id, file name and content of each document that has words."""
    for number, (name, entry) in enumerate(corpus.items()):
        if entry.text.strip():
            yield name, f"{number}.html", as_file(entry)


def demo_questions() -> list[Question]:
    rows = [
        json.loads(line)
        for path in sorted((DEMO / "questions").glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
        if line.strip()
    ]
    return [
        Question(row["id"], row["question"], tuple(row["documents"]), tuple(row["quotes"]), row["kind"])
        for row in rows
    ]


def demo_files() -> Iterator[tuple[str, str, bytes]]:
    """Path below the corpus, file name and content of each demo document."""
    for folder in ("handbook", "guide"):
        for path in sorted((DEMO / folder).iterdir()):
            yield f"{folder}/{path.name}", path.name, path.read_bytes()


def demo_dataset() -> Dataset:
    """The judged questions about the demo corpus, whose documents are named by their files; without the texts."""
    answerable = [question for question in demo_questions() if question.documents]
    return Dataset(
        "Demo",
        {},
        {question.id: question.text for question in answerable},
        {question.id: {Path(name).name: 1 for name in question.documents} for question in answerable},
    )
