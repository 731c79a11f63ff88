"""When to ask again: as the endpoint says, else in growing, uneven steps, and not for ever."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import openai
import pytest

from retrieval.embedders.retrying import Patience, away, retry_after

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
REQUEST = httpx2.Request("POST", "http://endpoint.test/v1/embeddings")


def refused(status: int, **headers: str) -> openai.APIStatusError:
    kinds: dict[int, type[openai.APIStatusError]] = {
        400: openai.BadRequestError, 429: openai.RateLimitError, 500: openai.InternalServerError,
        503: openai.InternalServerError,
    }  # fmt: skip
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return kinds[status]("no", response=httpx2.Response(status, headers=named, request=REQUEST), body=None)


@pytest.mark.parametrize(("attempt", "most"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (9, 5.0)])
def test_steps_grow_up_to_the_longest(attempt: int, most: float) -> None:
    patience = Patience(attempts=10, first=1.0, longest=5.0)
    waits = [patience.wait(attempt, refused(500), 0, lambda share=share: share) for share in (0, 0.5, 1)]
    assert waits == [0, most / 2, most]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=30), usegmt=True)}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_what_an_endpoint_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW.timestamp()) == seconds


def test_its_wish_is_kept_and_not_in_step() -> None:
    patience = Patience(attempts=3, first=1.0, longest=10.0)
    waits = {patience.wait(1, refused(429, retry_after="4"), 0, lambda s=s: s) for s in (0.0, 0.5, 1.0)}
    assert waits == {4.0, 4.5, 5.0}


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (3, refused(500)),
        (1, refused(400)),
        (1, refused(429, retry_after="11")),
        (1, openai.OpenAIError("no key")),
    ],
)
def test_it_gives_up(attempt: int, error: openai.OpenAIError) -> None:
    assert Patience(attempts=3, first=1.0, longest=10.0).wait(attempt, error, 0) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused(429), True),
        (refused(503), True),
        (openai.APIConnectionError(request=REQUEST), True),
        (refused(500), False),  # of one text, maybe
        (openai.APITimeoutError(request=REQUEST), False),  # fewer texts may be in time
        (refused(400), False),
    ],
)
def test_who_is_away_whatever_the_texts(error: openai.OpenAIError, expected: bool) -> None:
    assert away(error) is expected


def test_an_endpoint_that_cannot_be_reached_is_tried_again() -> None:
    assert Patience().wait(1, openai.APIConnectionError(request=REQUEST), 0) is not None
