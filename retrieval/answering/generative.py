"""Answers through a language model behind an OpenAI-compatible endpoint, marker by marker checked."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, Protocol

from retrieval.answering import AnswerEvent, AnswerFailed, Finished
from retrieval.answering.drafting import Draft
from retrieval.answering.failures import explained
from retrieval.answering.prompting import Prompt, approximate_tokens, build_prompt
from retrieval.evidence import Passage

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

CLOSEST = 3


class ChunkStream(Protocol):
    """A streamed completion; `close` ends the HTTP response."""

    def __iter__(self) -> Iterator["ChatCompletionChunk"]: ...

    def close(self) -> None: ...


class Completions(Protocol):
    def create(
        self,
        *,
        messages: Iterable["ChatCompletionMessageParam"],
        model: str,
        stream: Literal[True],
        stream_options: Any,
        timeout: Any,
        temperature: Any,
        max_tokens: Any,
    ) -> ChunkStream: ...


class Chat(Protocol):
    @property
    def completions(self) -> Completions: ...


class ChatClient(Protocol):
    """What is used of `openai.OpenAI`."""

    @property
    def chat(self) -> Chat: ...


class GenerativeAnswerer:
    """Streams an answer of which every remaining marker names a source that was given.

    `read_timeout` is the longest silence between two pieces, `total_timeout` the longest answer;
    all in seconds. `temperature` and `max_tokens` are sent only if given: some models refuse them.
    Closing the iterator closes the HTTP stream, so the model stops working. An answer whose
    citations are empty cites nothing: the caller should say that it is unsupported.
    """

    def __init__(
        self,
        client: ChatClient,
        model: str,
        *,
        prompt_tokens: int = 6000,
        count: Callable[[str], int] = approximate_tokens,
        temperature: float | None = None,
        max_tokens: int | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 60.0,
        total_timeout: float = 180.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import openai  # noqa: PLC0415  half a second, which most processes never need

        self.client = client
        self.model = model
        self.prompt_tokens = prompt_tokens
        self.count = count
        self.temperature = openai.omit if temperature is None else temperature
        self.max_tokens = openai.omit if max_tokens is None else max_tokens
        self.timeout = openai.Timeout(read_timeout, connect=connect_timeout)
        self.total_timeout = total_timeout
        self.clock = clock

    def answer(self, question: str, passages: Sequence[Passage]) -> Iterator[AnswerEvent]:
        if not passages:
            yield Finished("", (), declined=True, model=self.model)
            return
        prompt = build_prompt(question, passages, self.prompt_tokens, self.count)
        if not prompt.sources:
            raise AnswerFailed(
                "rejected",
                "The question leaves no room for a source: ask a shorter one, or raise the prompt's budget.",
            )
        draft = Draft(prompt.sources)
        with closing(self._chunks(prompt)) as chunks:
            for chunk in chunks:
                yield from draft.add(chunk)
        yield from draft.complete()
        yield draft.finished(self.model, closest=tuple(passages[:CLOSEST]))

    def _chunks(self, prompt: Prompt) -> Generator["ChatCompletionChunk", None, None]:
        deadline = self.clock() + self.total_timeout
        with explained(self.model):
            stream = self.client.chat.completions.create(
                messages=prompt.messages,
                model=self.model,
                stream=True,
                stream_options={"include_usage": True},
                timeout=self.timeout,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            with closing(stream):
                for chunk in stream:
                    yield chunk
                    if self.clock() > deadline:
                        raise AnswerFailed(
                            "timeout",
                            f"The language model took longer than {self.total_timeout:.0f} seconds.",
                        )
