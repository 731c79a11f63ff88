"""What an answer is made of: the events that every answerer yields, and the one method it has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from retrieval.evidence import Passage


@dataclass(frozen=True)
class TextDelta:
    """The next piece of the answer's text; all of them joined are `Finished.text`."""

    text: str


@dataclass(frozen=True)
class Cited:
    """The footnote behind the marker `[marker]` of the text.

    Markers count from 1 in the order of the text, and each belongs to one span: two claims that
    rest on different sentences of one passage have two footnotes. `start` and `end` index the
    document's text; `quote == passage.text[start - passage.start : end - passage.start]`.
    A footnote is yielded once, just before the `TextDelta` that carries its marker first.
    """

    marker: int
    passage: Passage
    start: int
    end: int
    quote: str


@dataclass(frozen=True)
class Finished:
    """The whole answer; always the last event.

    A declined answer has neither text nor citations: the caller says so in its own words and
    shows `closest`, best first. `confidence` is in [0, 1], None where the answerer measures none.
    `removed_markers` counts markers that named no given source. `truncated` says that the model
    was stopped by its length limit. Token counts are None where nothing counts them.
    """

    text: str
    citations: tuple[Cited, ...]
    declined: bool
    model: str
    confidence: float | None = None
    closest: tuple[Passage, ...] = ()
    removed_markers: int = 0
    truncated: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


AnswerEvent = TextDelta | Cited | Finished


class AnswerFailed(Exception):
    """No answer could be made; `message` says what to do about it and may be shown to a person.

    `code` is one of: timeout, unreachable, unauthorised, not_found, rate_limited, rejected, failed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Answerer(Protocol):
    """Answers from passages given best first; raises `AnswerFailed`, also in mid-stream.

    The question is neither empty nor overlong: that is the caller's matter.
    """

    def answer(self, question: str, passages: Sequence[Passage]) -> Iterator[AnswerEvent]: ...
