"""How long to wait before an endpoint is asked again: as long as it says, else longer each time, never in step."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openai

GATEWAY = (502, 503, 504)  # nobody read the texts


def passing(error: "openai.OpenAIError") -> bool:
    """Whether the endpoint may answer next time; anything else will be refused again."""
    import openai  # noqa: PLC0415  half a second, which most processes never need

    return isinstance(error, openai.RateLimitError | openai.InternalServerError | openai.APIConnectionError)


def away(error: "openai.OpenAIError") -> bool:
    """Whether it has nothing to do with the texts. A time that ran out, or status 500, may: fewer of them may pass."""
    import openai  # noqa: PLC0415  half a second, which most processes never need

    if isinstance(error, openai.InternalServerError):
        return error.status_code in GATEWAY
    return isinstance(error, openai.RateLimitError | openai.APIConnectionError) and not isinstance(
        error, openai.APITimeoutError
    )


def asked_to_rest(error: "openai.OpenAIError", now: float) -> float | None:
    """Seconds that the endpoint wants to be left alone, None where it does not say."""
    return retry_after(getattr(getattr(error, "response", None), "headers", {}), now)


@dataclass(frozen=True)
class Patience:
    """At most `attempts`; the first wait is up to `first` seconds, each other twice as long, none over `longest`.

    Waits are drawn evenly from zero up ("full jitter", Brooker: Exponential Backoff And Jitter, 2015), so
    that workers that were refused together do not come back together.
    """

    attempts: int = 4
    first: float = 0.5
    longest: float = 10.0

    def wait(
        self,
        attempt: int,
        error: "openai.OpenAIError",
        now: float,
        chance: Callable[[], float] = random.random,
    ) -> float | None:
        """Seconds to wait after the failure of `attempt`, which counts from 1; None to give up.

        Gives up also where the endpoint wants longer than `longest`. `now` is in seconds since the epoch.
        """
        if attempt >= self.attempts or not passing(error):
            return None
        most = min(self.first * 2.0 ** (attempt - 1), self.longest)
        jitter = chance() * most
        wanted = asked_to_rest(error, now)
        if wanted is None:
            return jitter
        return None if wanted > self.longest else wanted + min(jitter, self.first)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the endpoint asks to wait, given as a number or as a date (RFC 9110, 10.2.3); None if it does not.

    `retry-after-ms` is what some endpoints send beside it, and more precise.
    """
    milliseconds = number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = number(text)
    if seconds is not None or not text:
        return seconds
    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except ValueError:
        return None


def number(text: str | None) -> float | None:
    """A number of at least zero, or None."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None
