"""The fake language model: a client that says what it was told to, for tests and demonstrations."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from openai.types.chat.chat_completion_chunk import Choice, ChoiceDelta

FinishReason = Literal["stop", "length", "content_filter"]


@dataclass
class ScriptedStream:
    """Yields the chunks, then raises `error` if there is one; remembers that it was closed."""

    chunks: Sequence[ChatCompletionChunk]
    error: Exception | None
    closed: bool = False
    taken: int = 0

    def __iter__(self) -> Iterator[ChatCompletionChunk]:
        for chunk in self.chunks:
            self.taken += 1
            yield chunk
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True


@dataclass
class ScriptedClient:
    """Stands in for `openai.OpenAI`: each request is answered by `pieces`, and kept in `requests`.

    `refusal` is raised instead of an answer, `error` after the last piece. Tokens are counted as
    pieces, so that a test can foresee them.
    """

    pieces: Sequence[str]
    finish_reason: FinishReason = "stop"
    refusal: Exception | None = None
    error: Exception | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)

    @property
    def chat(self) -> "ScriptedClient":
        return self

    @property
    def completions(self) -> "ScriptedClient":
        return self

    def create(
        self,
        *,
        messages: Iterable[ChatCompletionMessageParam],
        model: str,
        stream: Literal[True],
        **options: Any,
    ) -> ScriptedStream:
        messages = list(messages)
        self.requests.append({"messages": messages, "model": model, "stream": stream, **options})
        if self.refusal:
            raise self.refusal
        usage = CompletionUsage(
            prompt_tokens=len(messages),
            completion_tokens=len(self.pieces),
            total_tokens=len(messages) + len(self.pieces),
        )
        chunks = [_chunk(model, piece) for piece in self.pieces]
        chunks += [_chunk(model, finish_reason=self.finish_reason), _chunk(model, usage=usage)]
        self.streams.append(ScriptedStream(chunks, self.error))
        return self.streams[-1]


def _chunk(
    model: str,
    content: str | None = None,
    finish_reason: FinishReason | None = None,
    usage: CompletionUsage | None = None,
) -> ChatCompletionChunk:
    choice = Choice(index=0, delta=ChoiceDelta(content=content), finish_reason=finish_reason)
    return ChatCompletionChunk(
        id="scripted",
        created=0,
        model=model,
        object="chat.completion.chunk",
        choices=[] if usage else [choice],
        usage=usage,
    )
