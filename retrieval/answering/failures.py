"""Says what a failed call of a language model means, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retrieval.answering import AnswerFailed

if TYPE_CHECKING:
    from openai import OpenAIError

# The client's errors by name: the first that fits, subclasses before their bases.
MEANINGS = (
    (
        "APITimeoutError",
        "timeout",
        "The language model did not answer in time. Try again; if it keeps happening, check the server at "
        "LLM_BASE_URL or choose a faster LLM_MODEL.",
    ),
    (
        "APIConnectionError",
        "unreachable",
        "The language model cannot be reached, or broke off. Check that LLM_BASE_URL is right and that its "
        "server runs.",
    ),
    (
        "AuthenticationError",
        "unauthorised",
        "The language model's server refused the key. Check LLM_API_KEY.",
    ),
    (
        "PermissionDeniedError",
        "unauthorised",
        "The key may not use the model {model}. Check LLM_API_KEY and LLM_MODEL.",
    ),
    (
        "NotFoundError",
        "not_found",
        "The language model's server knows no model {model} at this address. Check LLM_MODEL and "
        "LLM_BASE_URL, which usually ends in /v1.",
    ),
    (
        "RateLimitError",
        "rate_limited",
        "The language model's server takes no more requests for now: there were too many, or the account's "
        "quota is used up. Try again later.",
    ),
    ("BadRequestError", "rejected", "The language model's server rejected the request: {detail}"),
    ("InternalServerError", "failed", "The language model's server failed. Try again later."),
    ("OpenAIError", "failed", "The language model failed: {detail}"),
)


@contextmanager
def explained(model: str) -> Iterator[None]:
    """Turns the client's errors into AnswerFailed, with the error itself as its cause."""
    from openai import OpenAIError  # noqa: PLC0415  half a second, which most processes never need

    try:
        yield
    except OpenAIError as error:
        raise failure(error, model) from error


def failure(error: "OpenAIError", model: str) -> AnswerFailed:
    """Every OpenAIError has a meaning; the last one fits them all."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    code, words = next((code, words) for name, code, words in MEANINGS if name in kinds)
    detail = " ".join(str(error).split())[:300] or type(error).__name__
    return AnswerFailed(code, words.format(model=model, detail=detail))
