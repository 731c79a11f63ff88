"""The demo corpus is readable in all six formats, and its judged quotes stand in its documents."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kb.indexes.management.commands import load_demo
from kb.quality.datasets import Question, demo_files, demo_questions
from retrieval.loading.loaders import load
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


def test_a_second_space_is_made_once_of_its_passages(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def principal(directory: Path, texts: Sequence[str], dimensions: int) -> Path:
        made.append((len(texts), dimensions))
        directory.mkdir()
        return directory

    settings.KB_HOME = tmp_path
    monkeypatch.setattr(load_demo, "principal", principal)
    paths = sorted((load_demo.CORPUS / "guide").glob("*.md"))
    first, again = load_demo.second_space(paths), load_demo.second_space(paths)
    assert first == again == tmp_path / "models" / "demo-space"
    assert first.is_dir()
    ((texts, dimensions),) = made
    assert (texts > 20, dimensions) == (True, 384)
