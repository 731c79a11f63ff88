"""Turns a language model's chunks into the events of an answer: markers into footnotes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from retrieval.analysis import analyse
from retrieval.answering import AnswerEvent, AnswerFailed, Cited, Finished, TextDelta
from retrieval.answering.citations import MarkerFilter, Reference
from retrieval.answering.prompting import DECLINE
from retrieval.answering.quoting import supporting_span
from retrieval.answering.sentences import sentence_spans
from retrieval.evidence import Passage

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk

LEADING = " \t\r\n\"'`*."
CLAIM_CHARACTERS = 1000
CLAUSE_TERMS = 3


class Draft:
    """An answer that is being written from the numbered `sources`."""

    def __init__(self, sources: Sequence[Passage]) -> None:
        self.sources = sources
        self.text = ""
        self.citations: list[Cited] = []
        self.declined = False
        self.truncated = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self._opening: str | None = ""  # what came so far while it may still turn out to be DECLINE
        self._prose = ""  # the text without markers
        self._claim_start = 0  # in the prose, the end of the last claim that had a marker
        self._claim_end = 0  # and of the present one, which several markers may share
        self._markers = MarkerFilter(len(sources))

    def add(self, chunk: "ChatCompletionChunk") -> Iterator[AnswerEvent]:
        if chunk.usage:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.completion_tokens = chunk.usage.completion_tokens
        for choice in chunk.choices[:1]:
            if choice.finish_reason == "content_filter":
                raise AnswerFailed(
                    "rejected", "The language model's server withheld the answer (content filter)."
                )
            self.truncated = self.truncated or choice.finish_reason == "length"
            if choice.delta.content and not self.declined:
                yield from self._read(choice.delta.content)

    def complete(self) -> Iterator[AnswerEvent]:
        """What was still held back."""
        if self.declined:
            return
        if self._opening:
            yield from self._write(self._markers.feed(self._opening))
        yield from self._write(self._markers.flush())
        if not self.text.strip():
            raise AnswerFailed(
                "failed", "The language model's answer was empty. Try again or change LLM_MODEL."
            )

    def finished(self, model: str, closest: tuple[Passage, ...]) -> Finished:
        return Finished(
            text=self.text,
            citations=tuple(self.citations),
            declined=self.declined,
            model=model,
            closest=closest if self.declined else (),
            removed_markers=self._markers.removed,
            truncated=self.truncated,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
        )

    def _read(self, text: str) -> Iterator[AnswerEvent]:
        if self._opening is not None:
            self._opening += text
            begun = self._opening.lstrip(LEADING)
            if begun.startswith(DECLINE):
                self.declined = True
                return
            if DECLINE.startswith(begun):
                return
            text, self._opening = self._opening, None
        yield from self._write(self._markers.feed(text))

    def _write(self, pieces: Iterable[str | Reference]) -> Iterator[AnswerEvent]:
        for piece in pieces:
            if isinstance(piece, str):
                self._prose += piece
                yield self._said(piece)
            else:
                yield from self._cite(piece.source)

    def _said(self, text: str) -> TextDelta:
        self.text += text
        return TextDelta(text)

    def _cite(self, source: int) -> Iterator[AnswerEvent]:
        passage = self.sources[source - 1]
        start, end = supporting_span(self._claim(), passage.text)
        cited, is_new = self._footnote(passage, start, end)
        if is_new:
            self.citations.append(cited)
            yield cited
        marker = f"[{cited.marker}]"
        if not self.text.endswith(marker):
            yield self._said(marker)

    def _footnote(self, passage: Passage, start: int, end: int) -> tuple[Cited, bool]:
        """The footnote of this span, and whether it is a new one."""
        place = (passage.chunk_id, passage.start + start, passage.start + end)
        for known in self.citations:
            if (known.passage.chunk_id, known.start, known.end) == place:
                return known, False
        return Cited(len(self.citations) + 1, passage, place[1], place[2], passage.text[start:end]), True

    def _claim(self) -> str:
        """The words that the marker stands for: since the last marker, or else the whole sentence."""
        if self._prose[self._claim_end :].strip():
            self._claim_start, self._claim_end = self._claim_end, len(self._prose)
        recent = max(0, len(self._prose) - CLAIM_CHARACTERS)
        spans = sentence_spans(self._prose[recent:])
        start = recent + spans[-1][0] if spans else recent
        clause = self._prose[max(start, self._claim_start) :]
        return clause if len(set(analyse(clause))) >= CLAUSE_TERMS else self._prose[start:]
