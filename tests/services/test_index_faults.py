"""Whatever dies while a version is built, it gets built or says why, what serves goes on, and the audit is clean."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kb.core.embedded import layout
from retrieval.embedders.hashing import HashingEmbedder
from tests.live import Site, until

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(900)]

DOCUMENTS, SENTENCES = 6, 1500
LONG = 300.0  # seconds: a machine may be busy
STATE = "SELECT state FROM indexes_indexversion WHERE number = %s"
INDEXING = "SELECT FROM pg_stat_progress_create_index"
VECTORS = "SELECT count(*) FROM {}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of its own with a model that costs nothing; builds rest long enough to be caught at work."""
    made = Site(tmp_path_factory.mktemp("versions"), EMBEDDER="hashing", INDEX_BUILD_PERCENT="5")
    folder = tmp_path_factory.mktemp("texts")
    for number in range(DOCUMENTS):
        text = " ".join(f"Sentence {n} of text {number} says word{n * number}." for n in range(SENTENCES))
        (folder / f"{number}.txt").write_text(text)
    try:
        made.start()
        made.manage("ingest", str(folder), "--wait")
        yield made
    finally:
        made.stop()


@pytest.fixture
def model(site: Site, request: pytest.FixtureRequest) -> str:
    """A space of its own for each test."""
    name = f"hashing-{request.node.name}"[:200]
    site.sql(
        "INSERT INTO indexes_embeddingmodel (provider, name, revision, weights_sha256, dimensions, max_tokens, "
        "query_prompt, document_prompt, pooling, licence, base_url, training, asks_dimensions, created_at) "
        "VALUES ('hashing', %s, '', '', 96, 0, '', '', '', '', '', '{}', false, now())",
        name,
    )
    return name


def begin(site: Site, *arguments: str) -> int:
    """The number of a new version that the workers are to build."""
    return int(site.manage("index", "build", *arguments)["version"].partition("/")[2])


def state(site: Site, number: int) -> str:
    [(found,)] = site.sql(STATE, number)
    return str(found)


def table(site: Site, number: int) -> str:
    [(key,)] = site.sql("SELECT id FROM indexes_indexversion WHERE number = %s", number)
    return f"embedding_{key}"


def vectors(site: Site, number: int) -> int:
    [(count,)] = site.sql(VECTORS.format(table(site, number)))
    return int(count)


def until_state(site: Site, number: int, wanted: str) -> None:
    until(lambda: state(site, number) == wanted, f"version {number} to be {wanted}", LONG)


def let_on(site: Site, number: int) -> None:
    """A report that passed."""
    site.sql(
        "INSERT INTO indexes_validationreport (version_id, at, verdict, reasons, figures, override_reason) "
        "SELECT id, now(), 'pass', '[]', '{}', '' FROM indexes_indexversion WHERE number = %s",
        number,
    )


def check_all_is_well(site: Site) -> None:
    found: dict[str, Any] = site.manage("index", "audit")
    assert found == {"ok": True, "findings": []}
    assert site.manage("search", "sentence")["passages"]


@contextmanager
def writing(site: Site, number: int) -> Iterator[None]:
    """A writer that has not committed yet: a concurrent build of the table's index waits for it."""
    connected = psycopg.connect(
        host=str(layout.sockets(site.home)),
        user=layout.USER,
        dbname=layout.DATABASE,
        passfile=str(layout.password_file(site.home)),
    )
    try:
        connected.execute(f"DELETE FROM {table(site, number)} WHERE chunk_id = -1")
        yield
    finally:
        connected.close()


def test_the_whole_life_with_real_workers(site: Site, model: str) -> None:
    number = begin(site, "--model", model)
    until_state(site, number, "validating")
    let_on(site, number)
    assert site.manage("index", "promote", str(number))["state"] == "live"
    assert f"v{number}" in site.manage("search", "sentence")["version"]
    assert site.manage("index", "rollback")["state"] == "live"
    assert f"v{number}" not in site.manage("search", "sentence")["version"]
    check_all_is_well(site)


def test_an_embed_worker_killed_during_the_build(site: Site, model: str) -> None:
    number = begin(site, "--model", model)
    until(lambda: vectors(site, number) > 0, "the first vectors", LONG)
    site.kill("embed")
    until_state(site, number, "validating")
    check_all_is_well(site)


def test_a_worker_killed_while_it_waits_for_the_index(site: Site, model: str) -> None:
    number = begin(site, "--model", model)
    with writing(site, number):
        until(lambda: site.sql(INDEXING), "the index to be begun", LONG)
        site.kill("fetch")
    until_state(site, number, "validating")
    check_all_is_well(site)


def test_the_database_killed_during_create_index_concurrently(site: Site, model: str) -> None:
    number = begin(site, "--model", model)
    with writing(site, number):
        until(lambda: site.sql(INDEXING), "the index to be begun", LONG)
        site.kill("postgres")
        until(site.database_answers, "the database", LONG)
    until_state(site, number, "validating")
    check_all_is_well(site)


def test_cancelled_at_the_last_step(site: Site, model: str) -> None:
    number = begin(site, "--model", model)
    with writing(site, number):
        until(lambda: site.sql(INDEXING), "the index to be begun", LONG)
        assert site.manage("index", "cancel", str(number))["state"] == "cancelled"
    until_state(site, number, "dropped")
    gone = "SELECT count(*) FROM pg_class WHERE relname LIKE %s"
    name = f"{table(site, number)}%"
    until(lambda: site.sql(gone, name) == [(0,)], "its table to go", LONG)
    check_all_is_well(site)


def test_documents_cut_anew_by_workers_that_are_killed(site: Site) -> None:
    number = begin(site, "--chunk-tokens", "60")
    until(lambda: site.sql("SELECT FROM indexes_cuttingjob LIMIT 1"), "documents to be cut", LONG, every=0)
    site.kill("parse")
    until_state(site, number, "validating")
    check_all_is_well(site)


def test_a_third_is_built_while_the_second_is_promoted(site: Site, model: str) -> None:
    second = begin(site, "--m", "8")
    until_state(site, second, "validating")
    third = begin(site, "--model", model)
    let_on(site, second)
    site.manage("index", "promote", str(second))
    until_state(site, third, "validating")
    site.manage("index", "rollback")
    check_all_is_well(site)


def test_what_is_put_in_and_taken_out_reaches_every_version(site: Site, model: str, tmp_path: Path) -> None:
    number = begin(site, "--model", model)
    (tmp_path / "late.txt").write_text("A text that came while a version was built. " * 300)
    site.manage("ingest", str(tmp_path), "--wait")
    site.sql("DELETE FROM documents_chunk WHERE id IN (SELECT id FROM documents_chunk ORDER BY id LIMIT 3)")
    until_state(site, number, "validating")
    live = "SELECT number FROM indexes_indexversion WHERE state = 'live'"
    [(serving,)] = site.sql(live)
    until(lambda: vectors(site, number) == vectors(site, serving), "the same chunks in both", LONG)
    check_all_is_well(site)


class Endpoint(ThreadingHTTPServer):
    """Speaks OpenAI's embeddings API on the loopback; does to one request after the other what `faults` names."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.faults: list[str] = []
        self.embedder = HashingEmbedder(64)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Answering(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        vectors = self.server.embedder.embed(asked["input"], "document").tolist()
        if fault == "dimensions":
            vectors = [row[:-1] for row in vectors]
        if fault == "nan":
            vectors[-1][0] = float("nan")
        data = [
            {"index": place, "embedding": row, "object": "embedding"} for place, row in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = json.dumps({"object": "list", "model": asked["model"], "data": data, "usage": usage}).encode()
        self.send_response(int(fault) if fault.isdecimal() else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if fault == "429":
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for what the site says."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def test_an_endpoint_that_is_busy_fails_and_sends_what_are_no_vectors(site: Site, endpoint: Endpoint) -> None:
    site.manage("index", "register", "behind-an-endpoint", "--base-url", endpoint.url)
    faults = ["429", "500", "429", "dimensions", "nan", "503", "nan", "dimensions"]
    endpoint.faults = list(faults)
    number = begin(site, "--model", "behind-an-endpoint")
    until(lambda: len(endpoint.faults) < len(faults), "the first fault", LONG)
    assert f"v{number}" not in site.manage("search", "sentence")["version"]
    until_state(site, number, "validating")
    assert endpoint.faults == []
    lengths = f"SELECT count(*) FROM {table(site, number)} WHERE abs(l2_norm(vector) - 1) < 0.01"
    assert site.sql(lengths) == [(vectors(site, number),)]
    check_all_is_well(site)
