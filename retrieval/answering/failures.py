"""Says what a failed call of a language model means, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from retrieval.answering import AnswerFailed

# The first that fits; subclasses before their bases.
MEANINGS: tuple[tuple[type[openai.OpenAIError], str, str], ...] = (
    (
        openai.APITimeoutError,
        "timeout",
        "The language model did not answer in time. Try again; if it keeps happening, check the server at "
        "LLM_BASE_URL or choose a faster LLM_MODEL.",
    ),
    (
        openai.APIConnectionError,
        "unreachable",
        "The language model cannot be reached, or broke off. Check that LLM_BASE_URL is right and that its "
        "server runs.",
    ),
    (
        openai.AuthenticationError,
        "unauthorised",
        "The language model's server refused the key. Check LLM_API_KEY.",
    ),
    (
        openai.PermissionDeniedError,
        "unauthorised",
        "The key may not use the model {model}. Check LLM_API_KEY and LLM_MODEL.",
    ),
    (
        openai.NotFoundError,
        "not_found",
        "The language model's server knows no model {model} at this address. Check LLM_MODEL and "
        "LLM_BASE_URL, which usually ends in /v1.",
    ),
    (
        openai.RateLimitError,
        "rate_limited",
        "The language model's server takes no more requests for now: there were too many, or the account's "
        "quota is used up. Try again later.",
    ),
    (openai.BadRequestError, "rejected", "The language model's server rejected the request: {detail}"),
    (openai.InternalServerError, "failed", "The language model's server failed. Try again later."),
    (openai.OpenAIError, "failed", "The language model failed: {detail}"),
)


@contextmanager
def explained(model: str) -> Iterator[None]:
    """Turns the client's errors into AnswerFailed, with the error itself as its cause."""
    try:
        yield
    except openai.OpenAIError as error:
        raise failure(error, model) from error


def failure(error: openai.OpenAIError, model: str) -> AnswerFailed:
    """Every OpenAIError has a meaning; the last one fits them all."""
    code, words = next((code, words) for kind, code, words in MEANINGS if isinstance(error, kind))
    detail = " ".join(str(error).split())[:300] or type(error).__name__
    return AnswerFailed(code, words.format(model=model, detail=detail))
