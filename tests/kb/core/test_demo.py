"""The demo corpus is readable in all six formats, and its judged quotes stand in its documents."""

from functools import cache

import pytest

from kb.quality.datasets import Question, demo_files, demo_questions
from retrieval.loading import load
from retrieval.spans import LoadedText


@cache
def corpus() -> dict[str, LoadedText]:
    return {path: load(content, filename) for path, filename, content in demo_files()}


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_forty_documents_in_six_formats_of_twenty_thousand_words() -> None:
    assert len(corpus()) >= 40
    assert {path.rpartition(".")[2] for path in corpus()} == {"txt", "md", "rst", "html", "pdf", "docx"}
    assert sum(len(text.text.split()) for text in corpus().values()) >= 20_000


def test_every_document_has_a_title() -> None:
    assert [path for path, text in corpus().items() if not text.title and not path.endswith(".txt")] == []


@pytest.mark.parametrize("question", demo_questions(), ids=lambda question: question.id)
def test_quotes_stand_in_their_documents(question: Question) -> None:
    assert bool(question.documents) == (question.kind != "unanswerable")
    texts = [squeezed(corpus()[path].text) for path in question.documents]
    for quote in question.quotes:
        assert any(squeezed(quote) in text for text in texts), quote
