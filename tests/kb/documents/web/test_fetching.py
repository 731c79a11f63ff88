"""The fetcher against a real server: what it takes, what it refuses, and when it has had enough."""

import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kb.documents.web import connecting
from kb.documents.web.fetching import Fetcher, Validators, retry_after, trusted_authorities
from kb.documents.web.media import in_utf8, media_type, page_suffix, why_no_page
from kb.documents.web.outcomes import Failed, Fetched, Gone, NotModified, Outcome, Refused
from tests.kb.documents.web.conftest import Server, this_machine_too

MEGABYTE = 1024 * 1024


def fetch(fetcher: Fetcher, url: str, **more: object) -> Outcome:
    return fetcher.fetch(url, **{"most_bytes": MEGABYTE, **more})


def redirecting(location: str, status: int = 302) -> object:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Location", location)
        request.end_headers()

    return answer


def test_a_page_comes_with_all_that_is_known_of_it(server: Server, fetcher: Fetcher) -> None:
    server.page("/a?b", "<p>hello</p>", ETag='"1"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")
    found = fetch(fetcher, server.url("/a?b"))
    assert isinstance(found, Fetched)
    assert (found.body, found.media_type, found.charset) == (b"<p>hello</p>", "text/html", "utf-8")
    assert (found.etag, found.last_modified) == ('"1"', "Mon, 01 Jan 2024 00:00:00 GMT")
    assert str(found.address) == server.url("/a?b")
    sent = server.headers[0]
    assert sent["User-Agent"].startswith("Footnote/")
    assert sent["Host"] == f"127.0.0.1:{server.port}"
    assert not {"Cookie", "Authorization", "Referer"} & set(sent)


def test_a_name_is_asked_for_by_its_name(server: Server, fetcher: Fetcher) -> None:
    server.page("/", "hello")
    assert isinstance(fetch(fetcher, server.url("/", "site.example")), Fetched)
    assert server.headers[0]["Host"] == f"site.example:{server.port}"


@pytest.mark.parametrize(
    ("validators", "expected"),
    [
        ({"etag": '"1"'}, NotModified),
        ({"last_modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, NotModified),
        ({"etag": '"0"'}, Fetched),
        ({}, Fetched),
    ],
)
def test_what_did_not_change_is_not_sent(
    server: Server, fetcher: Fetcher, validators: dict[str, str], expected: type
) -> None:
    server.page("/", "hello", ETag='"1"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")
    known = Validators(server.url("/"), **validators)
    assert isinstance(fetch(fetcher, server.url("/"), validators=known), expected)


def test_conditions_are_only_sent_to_the_address_that_they_are_about(
    server: Server, fetcher: Fetcher
) -> None:
    server.pages["/old"] = redirecting("/new")
    server.page("/new", "hello", ETag='"1"')
    known = Validators(server.url("/new"), '"1"')
    assert isinstance(fetch(fetcher, server.url("/old"), validators=known), NotModified)
    assert [headers.get("If-None-Match") for headers in server.headers] == [None, '"1"']


def test_a_304_that_nobody_asked_for_is_a_failure(server: Server, fetcher: Fetcher) -> None:
    server.page("/", status=304)
    assert isinstance(fetch(fetcher, server.url("/")), Failed)


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_gone(server: Server, fetcher: Fetcher, status: int) -> None:
    server.page("/", "no", status=status)
    assert fetch(fetcher, server.url("/")) == Gone(status)


@pytest.mark.parametrize(
    ("status", "wait", "seconds"), [(429, "120", 120), (503, "7", 7), (500, "", None), (403, "soon", None)]
)
def test_other_answers_are_failures_with_their_wait(
    server: Server, fetcher: Fetcher, status: int, wait: str, seconds: float | None
) -> None:
    server.page("/", "no", status=status, **({"Retry_After": wait} if wait else {}))
    found = fetch(fetcher, server.url("/"))
    assert isinstance(found, Failed)
    assert found.retry_after == seconds
    assert str(status) in found.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Server, fetcher: Fetcher, status: int) -> None:
    server.pages["/a"] = redirecting("b", status)
    server.page("/b", "here")
    found = fetch(fetcher, server.url("/a"))
    assert isinstance(found, Fetched)
    assert (found.body, str(found.address)) == (b"here", server.url("/b"))


def test_redirects_end_after_five(server: Server, fetcher: Fetcher) -> None:
    for number in range(9):
        server.pages[f"/{number}"] = redirecting(f"/{number + 1}")
    server.pages["/loop"] = redirecting("/loop")
    for path in ("/0", "/loop"):
        server.asked.clear()
        found = fetch(fetcher, server.url(path))
        assert isinstance(found, Refused)
        assert found.code == "redirects"
        assert len(server.asked) == 6
    server.page("/9", "the end")
    assert isinstance(fetch(fetcher, server.url("/4")), Fetched)


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://localhost/",
        ),
        *("http://[::ffff:127.0.0.1]/", "http://2130706433/", "file:///etc/passwd", "http://a:b@127.0.0.1/"),
        *("//[fd00:ec2::254]/", "gopher://127.0.0.1:6379/_FLUSHALL", "http://127.0.0.1:22/", "http://["),
    ],
)
def test_redirects_do_not_lead_inside(server: Server, fetcher: Fetcher, location: str) -> None:
    server.pages["/"] = redirecting(location)
    found = fetch(fetcher, server.url("/"))
    assert isinstance(found, Refused)
    assert found.code == "address"
    assert server.asked == ["/"]


def test_every_step_asks_whether_it_may(server: Server, fetcher: Fetcher) -> None:
    server.pages["/a"] = redirecting("/b")
    server.page("/b", "secret")
    refusal = Refused("robots", "no")
    found = fetch(
        fetcher, server.url("/a"), may_ask=lambda address: refusal if address.path == "/b" else None
    )
    assert found is refusal
    assert server.asked == ["/a"]


def test_without_the_parameter_of_tests_this_machine_is_never_asked(server: Server) -> None:
    server.page("/", "secret")
    for found in (
        fetch(Fetcher(), server.url("/")),
        fetch(Fetcher(resolve=lambda *_: ["127.0.0.1"]), server.url("/", "site.example")),
    ):
        assert isinstance(found, Refused)
        assert found.code == "address"
        assert "this machine" in found.reason
    assert server.asked == []


def test_proxies_of_the_environment_are_not_believed(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    server.page("/", "hello")
    assert isinstance(fetch(fetcher, server.url("/")), Fetched)


def test_a_second_answer_of_the_resolver_is_never_used(server: Server, fetcher: Fetcher) -> None:
    """A name that is public when it is judged and inner when it is connected to: there is only one question."""
    questions: list[str] = []

    def rebinding(host: str, port: int, seconds: float) -> list[str]:
        questions.append(host)
        return ["127.0.0.1"] if len(questions) == 1 else ["10.0.0.1"]

    server.page("/", "hello")
    changing = replace(fetcher, resolve=rebinding)
    assert isinstance(fetch(changing, server.url("/", "site.example")), Fetched)
    assert questions == ["site.example"]
    server.pages["/again"] = redirecting("/")
    found = fetch(changing, server.url("/", "site.example"))
    assert isinstance(found, Refused), "each request is judged by the answer that it connects to"
    assert "private network" in found.reason


@pytest.mark.parametrize(
    "numbers", [["127.0.0.1", "10.0.0.1"], ["::1"], ["fe80::1%eth0"], ["127.0.0.1", "::ffff:127.0.0.1"]]
)
def test_one_inner_number_among_the_answers_is_enough(
    server: Server, fetcher: Fetcher, numbers: list[str]
) -> None:
    found = fetch(replace(fetcher, resolve=lambda *_: numbers), server.url("/", "site.example"))
    assert isinstance(found, Refused)
    assert server.asked == []


def test_a_name_that_nobody_knows_is_a_failure(server: Server, fetcher: Fetcher) -> None:
    def unknown(*_: object) -> list[str]:
        raise OSError("no such name")

    found = fetch(replace(fetcher, resolve=unknown), server.url("/", "site.example"))
    assert isinstance(found, Failed)
    assert "site.example is not known" in found.reason


def test_the_systems_resolver_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    begun = time.monotonic()
    with pytest.raises(OSError, match="in time"):
        connecting.system_resolver("site.example", 80, 0.05)
    assert time.monotonic() - begun < 5
    over.set()


def test_the_systems_resolver_asks_for_the_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(0, 0, 0, "", ("192.0.2.1", port)), (0, 0, 0, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert connecting.system_resolver("site.example", 80, 5) == ["192.0.2.1"]
    assert asked == ["site.example."], "no search domain is added to it"


def test_a_public_number_that_is_this_machine_is_refused() -> None:
    class Own:
        def get_extra_info(self, _name: str) -> tuple[str, int]:
            return ("203.0.113.9", 1)

        def close(self) -> None:
            pass

    with pytest.raises(connecting.BadAddress, match="this very machine"):
        connecting.not_to_ourselves(Own())  # type: ignore[arg-type]


def test_nobody_listening_is_a_failure(fetcher: Fetcher) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = fetch(fetcher, f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert isinstance(found, Failed)
    assert "cannot be reached" in found.reason


# Time, size, and what is no proper reply -----------------------------------------------------------


def dripping(request: BaseHTTPRequestHandler, line: bytes) -> None:
    """Sends a little, again and again, for as long as somebody takes it."""
    while True:
        request.wfile.write(line)
        time.sleep(0.02)


def slow_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    dripping(request, b"x")


def slow_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    dripping(request, b"X-A: b\r\n")


def endless_continue(request: BaseHTTPRequestHandler) -> None:
    dripping(request, b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("answer", [slow_body, slow_headers, endless_continue])
def test_a_slow_server_is_given_up_in_time(server: Server, fetcher: Fetcher, answer: object) -> None:
    server.pages["/"] = answer
    begun = time.monotonic()
    found = fetch(replace(fetcher, seconds=0.3), server.url("/"))
    assert isinstance(found, Failed)
    assert "too slow" in found.reason
    assert time.monotonic() - begun < 3


def test_redirects_share_one_deadline(server: Server, fetcher: Fetcher) -> None:
    def late(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.15)
        redirecting("/")(request)

    server.pages["/"] = late
    begun = time.monotonic()
    assert isinstance(fetch(replace(fetcher, seconds=0.3), server.url("/")), Failed)
    assert time.monotonic() - begun < 2
    assert len(server.asked) <= 3


def test_silence_is_given_up(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = fetch(replace(fetcher, seconds=0.3), f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert isinstance(found, Failed)


def endless_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


def endless_header(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        request.wfile.write(b"x" * 65536)


def endless_chunk_extension(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
    while True:
        request.wfile.write(b"x" * 65536)


def test_an_endless_body_ends_at_the_limit(server: Server, fetcher: Fetcher) -> None:
    server.pages["/"] = endless_body
    found = fetch(fetcher, server.url("/"))
    assert isinstance(found, Refused)
    assert found.code == "too_large"
    assert "1 MB" in found.reason


@pytest.mark.parametrize("answer", [endless_header, endless_chunk_extension])
def test_endless_heads_are_no_proper_reply(server: Server, fetcher: Fetcher, answer: object) -> None:
    server.pages["/"] = answer
    assert isinstance(fetch(fetcher, server.url("/")), Failed)


def test_a_length_beyond_the_limit_is_refused_before_the_body(server: Server, fetcher: Fetcher) -> None:
    def huge(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(10**12))
        request.end_headers()

    server.pages["/"] = huge
    found = fetch(fetcher, server.url("/"))
    assert isinstance(found, Refused)
    assert found.code == "too_large"


def test_exactly_the_limit_is_taken(server: Server, fetcher: Fetcher) -> None:
    server.page("/", b"x" * MEGABYTE)
    server.page("/more", b"x" * (MEGABYTE + 1))
    assert isinstance(fetch(fetcher, server.url("/")), Fetched)
    assert isinstance(fetch(fetcher, server.url("/more")), Refused)


@pytest.mark.parametrize("size", [0, 1, 1000, 256 * 1024, 256 * 1024 + 1, MEGABYTE])
def test_gzip_is_unpacked(server: Server, fetcher: Fetcher, size: int) -> None:
    server.page("/", gzip.compress(b"a" * size), Content_Encoding="gzip")
    found = fetch(fetcher, server.url("/"))
    assert isinstance(found, Fetched)
    assert found.body == b"a" * size


def test_a_gzip_bomb_is_not_unpacked(server: Server, fetcher: Fetcher) -> None:
    bomb = gzip.compress(bytes(300 * MEGABYTE), 9)
    assert len(bomb) < MEGABYTE
    server.page("/", bomb, Content_Encoding="gzip")
    found = fetch(fetcher, server.url("/"))
    assert isinstance(found, Refused)
    assert found.code == "too_large"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"hello" * 1000, mtime=0)[:-9], "gzip"),
        (b"not compressed at all", "gzip"),
        (b"hello", "br"),
        (b"hello", "gzip, gzip"),
    ],
)
def test_damaged_and_unasked_encodings_are_failures(
    server: Server, fetcher: Fetcher, body: bytes, encoding: str
) -> None:
    server.page("/", body, Content_Encoding=encoding)
    assert isinstance(fetch(fetcher, server.url("/")), Failed)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        b"HTTP/1.1 302 Found\r\nLocation: http://a b/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 999 What\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_no_reply_however_odd_raises(server: Server, fetcher: Fetcher, raw: bytes) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(raw)

    server.pages["/"] = answer
    assert isinstance(fetch(fetcher, server.url("/")), Failed | Refused)


def test_what_cannot_be_read_is_not_loaded(server: Server, fetcher: Fetcher) -> None:
    server.pages["/film"] = lambda request: (
        request.send_response(200),
        request.send_header("Content-Type", "video/mp4"),
        request.end_headers(),
    )
    found = fetch(fetcher, server.url("/film"), why_not=why_no_page)
    assert isinstance(found, Refused)
    assert (found.code, found.reason) == ("unsupported", "Pages of the type video/mp4 cannot be read.")


# TLS -----------------------------------------------------------------------------------------------


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server with a certificate for right.example, and the authorities that vouch for it."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=right.example", "-addext", "subjectAltName=DNS:right.example"]
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", *made, "-keyout", str(key), "-out", str(certificate), *subject]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    made_up = Server()
    made_up.page("/", "secret")
    made_up.pages["/down"] = redirecting("http://right.example/")
    with HTTPServer(("127.0.0.1", 0), made_up.handler()) as listening:
        listening.handle_error = lambda *_: None  # a client that does not trust it breaks off
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield listening.server_port, ssl.create_default_context(cafile=str(certificate))
        listening.shutdown()
        thread.join()


def test_tls_verifies_the_name_and_not_the_number(
    secure: tuple[int, ssl.SSLContext], fetcher: Fetcher
) -> None:
    port, authorities = secure
    trusting = replace(fetcher, authorities=lambda: authorities)
    assert isinstance(fetch(trusting, f"https://right.example:{port}/"), Fetched)
    for name in ("wrong.example", "127.0.0.1"):
        found = fetch(trusting, f"https://{name}:{port}/")
        assert isinstance(found, Failed)
        assert "certificate" in found.reason.lower()


def test_tls_is_believed_from_known_authorities_alone(
    secure: tuple[int, ssl.SSLContext], fetcher: Fetcher
) -> None:
    found = fetch(fetcher, f"https://right.example:{secure[0]}/")
    assert isinstance(found, Failed)
    assert "certificate" in found.reason.lower()


def test_nothing_leads_from_https_to_http(secure: tuple[int, ssl.SSLContext], fetcher: Fetcher) -> None:
    port, authorities = secure
    found = fetch(replace(fetcher, authorities=lambda: authorities), f"https://right.example:{port}/down")
    assert isinstance(found, Refused)
    assert found.code == "downgrade"


# Pure decisions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("99999999999999999999", 7 * 24 * 3600),
        ("Mon, 01 Jan 2024 00:01:40 GMT", 100),
        ("Mon, 01 Jan 2024 00:01:40 -0000", 100),
        ("Sun, 31 Dec 2023 00:00:00 GMT", 0),
        ("Mon, 01 Jan 2034 00:00:00 GMT", 7 * 24 * 3600),
        ("", None),
        ("-5", None),
        ("soon", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(header, datetime(2024, 1, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("kind", "path", "suffix"),
    [
        ("text/html", "/", ".html"),
        ("text/html", "/a.pdf", ".html"),
        ("application/xhtml+xml", "/", ".html"),
        ("application/pdf", "/paper", ".pdf"),
        ("text/plain", "/notes", ".txt"),
        ("text/plain", "/README.md", ".md"),
        ("text/plain", "/guide.rst", ".rst"),
        ("application/octet-stream", "/paper.PDF", ".pdf"),
        ("application/octet-stream", "/paper", None),
        ("", "/paper.docx", ".docx"),
        ("", "/", None),
        ("application/octet-stream", "/all.zip", None),
        ("application/zip", "/all.zip", None),
        ("image/png", "/a.png", None),
        ("application/rss+xml", "/feed", None),
    ],
)
def test_the_media_type_decides_the_suffix(kind: str, path: str, suffix: str | None) -> None:
    assert page_suffix(kind, path) == suffix
    assert (why_no_page(kind, path) is None) == (suffix is not None)


def test_a_feed_is_no_page_and_says_so() -> None:
    assert "add it as one" in (why_no_page("application/rss+xml", "/") or "")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("text/HTML; Charset=ISO-8859-1", ("text/html", "iso-8859-1")),
        ('text/html; charset="utf-8"', ("text/html", "utf-8")),
        ("text/html", ("text/html", "")),
        ("", ("", "")),
        ("nonsense", ("text/plain", "")),
        ("text/html; charset", ("text/html", "")),
    ],
)
def test_media_types_are_read(header: str, expected: tuple[str, str]) -> None:
    assert media_type(header) == expected


@pytest.mark.parametrize(
    ("body", "kind", "charset", "expected"),
    [
        ("größe".encode("latin-1"), "text/html", "iso-8859-1", "\ufeffgröße".encode()),
        ("größe".encode(), "text/html", "utf-8", "größe".encode()),
        (b"\xff\xfe", "text/html", "ascii", b"\xff\xfe"),
        (b"\x80", "text/plain", "shift_jis_no", b"\x80"),
        (b"\xff\xff", "text/plain", "shift_jis", b"\xff\xff"),
        (b"abc", "text/plain", "base64", b"abc"),
        (b"%PDF", "application/pdf", "latin-1", b"%PDF"),
    ],
)
def test_the_charset_of_the_header_is_kept_in_the_file(
    body: bytes, kind: str, charset: str, expected: bytes
) -> None:
    assert in_utf8(body, kind, charset) == expected


def test_the_verdict_of_tests_lets_nothing_else_through(fetcher: Fetcher) -> None:
    for url in ("http://127.0.0.2/", "http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/"):
        assert isinstance(fetch(fetcher, url), Refused)
    assert fetcher.verdict is this_machine_too


def test_no_two_threads_share_the_authorities_that_a_connection_changes() -> None:
    with ThreadPoolExecutor(2) as pool:
        together = threading.Barrier(2)
        ours = [pool.submit(lambda: (together.wait(), trusted_authorities())[1]) for _ in range(2)]
        first, second = (one.result() for one in ours)
    assert first is not second
    assert trusted_authorities() is trusted_authorities()
