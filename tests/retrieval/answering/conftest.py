"""What the tests of answering share: passages, and a language model's server on the loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from retrieval.evidence import Passage

MakePassage = Callable[..., Passage]


@pytest.fixture
def passage() -> MakePassage:
    def make(text: str, chunk_id: int = 1, start: int = 100, title: str = "Handbook", **rest: Any) -> Passage:
        values = {"document_id": f"d{chunk_id}", "heading_path": ("Part",), "page": None, "score": 0.8} | rest
        return Passage(chunk_id=chunk_id, title=title, text=text, start=start, **values)

    return make


class ModelServer:
    """An OpenAI-compatible server: streams `pieces`, or refuses with `status`."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.status = 200
        self.endless = False
        self.stall_after: int | None = None
        self.requests: list[dict[str, Any]] = []
        self.authorization: list[str | None] = []
        self.broken_off = threading.Event()
        self.release = threading.Event()
        handler = type("Handler", (_Handler,), {"model": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    model: ModelServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.model.requests.append(json.loads(body))
        self.model.authorization.append(self.headers["Authorization"])
        self.send_response(self.model.status)
        if self.model.status != 200:
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"error": {"message": "refused by the test"}}).encode())
            return
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self._stream()
        except (BrokenPipeError, ConnectionResetError):
            self.model.broken_off.set()

    def _stream(self) -> None:
        for number, piece in enumerate(self.model.pieces):
            if number == self.model.stall_after:
                self.model.release.wait(30)
                return
            self._event(choices=[{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
        while self.model.endless:
            self._event(choices=[{"index": 0, "delta": {"content": "more "}, "finish_reason": None}])
        self._event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self._event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, **content: Any) -> None:
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m", **content}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests read the requests instead."""


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()
