"""E-mail: headers on top, the text that a person reads, names of attachments."""

from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from retrieval.loading import LoadError
from retrieval.loading.loaders import load
from tests.retrieval.loading.conftest import EML


def message(**headers: str) -> EmailMessage:
    made = EmailMessage()
    for name, value in ({"From": "Ada <ada@example.org>", "Subject": "Größe"} | headers).items():
        made[name] = value
    return made


def test_headers_text_author_and_date():
    loaded = load(EML, "a.eml")
    assert loaded.text == (
        "From: Ada Lovelace <ada@example.org>\nTo: grace@example.org\nDate: Tue, 04 May 2021 03:02:01 +0000\n"
        "Subject: On retrieval\n\nDear Grace,\n\nit works."
    )
    assert loaded.author == "Ada Lovelace"
    assert loaded.written_at == datetime(2021, 5, 4, 3, 2, 1, tzinfo=UTC)


def test_plain_text_is_preferred_and_attachments_are_named():
    made = message()
    made.set_content("the plain one")
    made.add_alternative("<p>the <b>HTML</b> one</p>", subtype="html")
    made.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="Übersicht.pdf")
    inner = message(Subject="Forwarded")
    inner.set_content("inner text")
    made.add_attachment(inner)
    loaded = load(bytes(made), "a.eml")
    assert loaded.title == "Größe"
    assert loaded.text.endswith("Subject: Größe\nAttachments: Übersicht.pdf, Forwarded\n\nthe plain one")


def test_html_goes_through_the_html_loader():
    made = message()
    made.set_content("<h2>News</h2><script>x</script><p>the <b>HTML</b> one</p>", subtype="html")
    loaded = load(bytes(made), "a.eml")
    assert loaded.text.endswith("\n\nNews\n\nthe HTML one")
    assert [heading.title for heading in loaded.headings] == ["News"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"Subject: x\nContent-Type: text/plain; charset=latin-1\n\nGr\xf6\xdfe", "Größe"),
        (b"Subject: x\nContent-Type: text/plain; charset=no-such\n\nGr\xc3\xb6\xc3\x9fe", "Größe"),
        (b"Subject: x\nContent-Transfer-Encoding: base64\n\nR3LDtsOfZQ==", "Größe"),
        (b"Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\n\nx", "Subject: Größe"),
        (b"Subject: x\nDate: never\n\ny", "Date: never"),
    ],
)
def test_encodings_as_they_come(raw, shown):
    assert shown in load(raw, "a.eml").text


def test_what_is_no_message():
    with pytest.raises(LoadError) as caught:
        load(b"just words", "a.eml")
    assert caught.value.code == "broken"


def test_ten_thousand_nested_parts():
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(10_000))
    with pytest.raises(LoadError) as caught:
        load(b"Subject: x\n" + deep, "a.eml")
    assert (caught.value.code, "nested" in caught.value.message) == ("broken", True)


def test_ten_thousand_parts_side_by_side():
    parts = b"--b\nContent-Type: text/plain\n\npart\n" * 10_000
    loaded = load(b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n" + parts + b"--b--", "a.eml")
    assert 900 < loaded.text.count("part") <= 1_000


def test_a_header_of_a_megabyte_takes_no_time():
    assert load(b"From: " + b"a@b.c, " * 150_000 + b"\nSubject: x\n\ntext", "a.eml").text.endswith("text")
