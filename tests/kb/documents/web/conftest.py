"""A web server on this machine that does what a test says, and the one fetcher that may ask it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from kb.documents import sources
from kb.documents.models import Source, WebHost, WebPage
from kb.documents.web import listings, pages
from kb.documents.web.addresses import Address, why_not_public
from kb.documents.web.fetching import Fetcher

Handler = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """`pages` maps a path to what answers it; `asked` holds the paths of all requests, `headers` theirs."""

    port: int = 0
    pages: dict[str, Handler] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def page(self, path: str, body: str | bytes = "", status: int = 200, **headers: str) -> None:
        """`path` is answered so from now on; underscores in header names stand for dashes."""
        content = body.encode() if isinstance(body, str) else body
        given = {"Content-Type": "text/html; charset=utf-8"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }

        def answer(request: BaseHTTPRequestHandler) -> None:
            conditions = (
                request.headers.get("If-None-Match") == given.get("ETag", object()),
                request.headers.get("If-Modified-Since") == given.get("Last-Modified", object()),
            )
            unchanged = status == 200 and any(conditions)
            request.send_response(304 if unchanged else status)
            for name, value in given.items():
                request.send_header(name, value)
            if not unchanged:
                request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            if not unchanged:
                request.wfile.write(content)

        self.pages[path] = answer

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Scripted(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.headers.append(dict(self.headers.items()))
                try:
                    answer = server.pages.get(self.path)
                    if answer is None:
                        self.send_response(404)
                        self.end_headers()
                    else:
                        answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the other side has had enough, which is what some tests are about

            def log_message(self, *_: object) -> None:
                pass

        return Scripted


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), made.handler()) as listening:
        listening.daemon_threads = True
        listening.block_on_close = False
        made.port = listening.server_port
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        listening.shutdown()
        thread.join()


def this_machine_too(number: Address) -> str | None:
    """The verdict of tests: 127.0.0.1 may be asked, everything else is judged as ever."""
    return None if str(number) == "127.0.0.1" else why_not_public(number)


def names_of_tests(_host: str, _port: int, _seconds: float) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(resolve=names_of_tests, verdict=this_machine_too, seconds=5.0)


@pytest.fixture
def later() -> Callable[[], None]:
    """Lets time pass: everything is due, and every host may be asked again."""

    def pass_time() -> None:
        past = timezone.now() - timedelta(minutes=1)
        WebPage.objects.filter(next_at__isnull=False).update(next_at=past)
        Source.objects.filter(next_at__isnull=False).exclude(kind="page").update(next_at=past)
        WebHost.objects.update(not_before=past)

    return pass_time


@pytest.fixture
def visit(fetcher: Fetcher, later: Callable[[], None]) -> Callable[[], None]:
    """Does what the workers would do until nothing is due, as if hosts could be asked without a pause."""

    def until_done() -> None:
        later()
        for _ in range(50):
            Source.objects.exclude(reading={}).update(next_at=timezone.now())
            for source_id in sources.listings_to_read(10):
                no_pauses()
                listings.check(source_id, fetcher)
            for page_id in sources.due_pages().values_list("pk", flat=True):
                no_pauses()
                pages.fetch(page_id, fetcher)
            if not sources.due_pages().exists() and not Source.objects.exclude(reading={}).exists():
                return
        raise AssertionError("it never ends")

    def no_pauses() -> None:
        WebHost.objects.update(not_before=timezone.now() - timedelta(minutes=1))

    return until_done
