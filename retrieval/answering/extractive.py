"""Answers in the documents' own words: quotes the sentences that answer, each with its footnote."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from retrieval.answering import AnswerEvent, Cited, Finished, TextDelta
from retrieval.answering.citations import disarm
from retrieval.answering.excerpts import (
    Excerpt,
    Sentence,
    chosen,
    excerpts,
    sentences,
    without_list_mark,
)
from retrieval.answering.support import features, support
from retrieval.embedders import Embedder
from retrieval.evidence import Passage
from retrieval.line_breaks import ITEM, is_term

CLOSEST = 3
# A line break within a paragraph: not before or after an empty line, nor before a list item.
SOFT_BREAK = re.compile(rf"(?<!\n)[ \t]*\n(?!\s*\n|{ITEM.pattern})[ \t]*(?=\S)")
LAYOUT = re.compile(r"```|~~~|::\s*\n|^[ \t]*[|+]", re.MULTILINE)


class ExtractiveAnswerer:
    """Quotes up to `max_excerpts` runs of up to `max_sentences` sentences; needs no language model.

    Declines when the confidence (see `support`) is below `threshold`. The default suits the default
    embedding model; for another, measure it on questions with and without an answer. The first
    `max_passages` are read; each of their sentences is embedded, which is what an answer costs.
    An excerpt that scores more than `drop` below the best one is left out.
    """

    model = "extractive"

    def __init__(
        self,
        embedder: Embedder,
        threshold: float = 0.3,
        *,
        max_passages: int = 5,
        max_excerpts: int = 2,
        max_sentences: int = 3,
        drop: float = 0.5,
    ) -> None:
        self.embedder = embedder
        self.threshold = threshold
        self.max_passages = max_passages
        self.max_excerpts = max_excerpts
        self.max_sentences = max_sentences
        self.drop = drop

    def answer(self, question: str, passages: Sequence[Passage]) -> Iterator[AnswerEvent]:
        passages = passages[: self.max_passages]
        candidates = sentences(passages)
        if not candidates:
            yield self._declined(0.0, passages)
            return
        vectors = self.embedder.embed([_in_context(one, passages) for one in candidates], "document")
        cosines = vectors @ self.embedder.embed([question], "query")[0]
        confidence = support(features(question, passages, float(cosines.max())))
        if confidence < self.threshold:
            yield self._declined(confidence, passages)
            return
        ranked = excerpts(question, passages, candidates, cosines, self.max_sentences)
        yield from self._written(chosen(ranked, self.max_excerpts, self.drop), passages, confidence)

    def _declined(self, confidence: float, passages: Sequence[Passage]) -> Finished:
        closest = tuple(passages[:CLOSEST])
        return Finished("", (), declined=True, model=self.model, confidence=confidence, closest=closest)

    def _written(
        self, parts: Sequence[Excerpt], passages: Sequence[Passage], confidence: float
    ) -> Iterator[AnswerEvent]:
        text = ""
        citations: list[Cited] = []
        for cited in _footnotes(parts, passages):
            words = ("\n\n" if citations else "") + disarm(readable(cited.quote, line_before(cited)))
            marker = f"\n[{cited.marker}]" if words.endswith(("```", "~~~")) else f" [{cited.marker}]"
            yield TextDelta(words)
            yield cited
            yield TextDelta(marker)
            text += words + marker
            citations.append(cited)
        yield Finished(text, tuple(citations), declined=False, model=self.model, confidence=confidence)


def line_before(cited: Cited) -> str:
    """What stands on the line of the passage on which the quote begins."""
    return cited.passage.text[: cited.start - cited.passage.start].rpartition("\n")[2]


def readable(quote: str, before: str = "") -> str:
    """The quote with its paragraphs as one line each; code, tables, lists and definitions stay as they are.

    `before` is what its first line begins with in the document.
    """
    if LAYOUT.search(quote):
        return quote
    whole = before + quote
    width = max(map(len, whole.split("\n")))

    def kept_or_joined(found: re.Match[str]) -> str:
        line = whole[: len(before) + found.start()].rpartition("\n")[2]
        after = quote[found.end() :].partition("\n")[0]
        return "\n" if is_term(line, after, width) else " "

    return SOFT_BREAK.sub(kept_or_joined, quote)


def _footnotes(parts: Sequence[Excerpt], passages: Sequence[Passage]) -> Iterator[Cited]:
    """One footnote for each excerpt; those that touch share one."""
    marker = 0
    for rank, group in groupby(parts, key=lambda part: part.rank):
        passage = passages[rank]
        spans: list[tuple[int, int]] = []
        for part in group:
            if spans and not passage.text[spans[-1][1] : part.start].strip():
                spans[-1] = spans[-1][0], part.end
            else:
                spans.append((part.start, part.end))
        for span in spans:
            marker += 1
            start, end = without_list_mark(passage.text, *span)
            yield Cited(marker, passage, passage.start + start, passage.start + end, passage.text[start:end])


def _in_context(sentence: Sentence, passages: Sequence[Passage]) -> str:
    """With the title and the nearest heading before it: alone, "It defaults to 40" says little."""
    passage = passages[sentence.rank]
    place = ". ".join(part for part in (passage.title, sentence.heading) if part)
    return f"{place}: {passage.text[sentence.start : sentence.end]}"
