"""What comes from a process that read a hostile file is not believed unchecked."""

import json
from datetime import UTC, datetime

import pytest

from retrieval.loading import LoadError
from retrieval.loading.wire import decode, encode, encode_error
from retrieval.spans import Heading, LoadedText, Page

GOOD = LoadedText(
    "Title\n\nText ü",
    "Title",
    "text/plain",
    (Page(1, 0, 5), Page(2, 7, 13)),
    (Heading(1, "Title", 0, 5),),
    author="Ada",
    written_at=datetime(2021, 5, 4, 3, 2, 1, tzinfo=UTC),
)


def test_there_and_back():
    assert decode(encode(GOOD)) == GOOD


def test_errors_there_and_back():
    with pytest.raises(LoadError) as caught:
        decode(encode_error("encrypted", "It has a password."))
    assert (caught.value.code, caught.value.message) == ("encrypted", "It has a password.")


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": "with \x00"},
        {"title": 3},
        {"author": None},
        {"author": "\x00"},
        {"written_at": "someday"},
        {"written_at": "2021-05-04T03:02:01"},
        {"pages": [[1, 0, 99]]},
        {"pages": [[1, 3, 5], [2, 0, 2]]},
        {"pages": [[1, -1, 5]]},
        {"pages": [[1, 0]]},
        {"pages": [[1, True, 5]]},
        {"pages": 7},
        {"headings": [[0, "Title", 0, 5]]},
        {"headings": [[1, "Other", 0, 5]]},
        {"headings": [[1, "Title", "0", 5]]},
        {"code": "no such code", "message": ""},
        {"code": "broken", "message": None},
    ],
)
def test_what_does_not_hold_together_is_refused(change):
    message = json.loads(encode(GOOD)) | change
    with pytest.raises(ValueError, match=r"."):
        decode(json.dumps(message).encode())


@pytest.mark.parametrize("payload", [b"", b"\xff", b"null", b"[]", b"{}", b'"x"', b"{"])
def test_what_is_no_result_is_refused(payload):
    with pytest.raises(ValueError, match=r"."):
        decode(payload)
