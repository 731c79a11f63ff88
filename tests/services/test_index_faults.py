"""Whatever dies while a version is built, it gets built or says why, what serves goes on, and the audit is clean."""

import hashlib
import http.client
import json
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kb.core.embedded import layout
from retrieval.embedders.hashing import HashingEmbedder
from tests.live import Site, until
from tests.retrieval.embedders.tiny import static_model

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(900)]

DOCUMENTS, SENTENCES = 6, 1500
LONG = 300.0  # seconds: a machine may be busy
NUMBERED = "FROM indexes_indexversion WHERE index_id = (SELECT id FROM indexes_index WHERE is_default) AND number = %s"
LIVE = "SELECT number FROM indexes_indexversion v JOIN indexes_index i ON i.live_version_id = v.id WHERE is_default"
INDEXING = "SELECT FROM pg_stat_progress_create_index"
VECTORS = "SELECT count(*) FROM {}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of its own with a model that costs nothing; builds rest long enough to be caught at work."""
    made = Site(
        tmp_path_factory.mktemp("versions"),
        EMBEDDER="hashing",
        EMBED_BACKEND="torch-float32",
        INDEX_BUILD_PERCENT="5",
    )
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
    [(found,)] = site.sql(f"SELECT state {NUMBERED}", number)
    return str(found)


def table(site: Site, number: int) -> str:
    [(key,)] = site.sql(f"SELECT id {NUMBERED}", number)
    return f"embedding_{key}"


def vectors(site: Site, number: int) -> int:
    [(count,)] = site.sql(VECTORS.format(table(site, number)))
    return int(count)


def until_state(site: Site, number: int, wanted: str) -> None:
    until(lambda: state(site, number) == wanted, f"version {number} to be {wanted}", LONG)


def let_on(site: Site, number: int) -> None:
    """A report that passed, against what serves."""
    site.sql(
        "INSERT INTO indexes_validationreport "
        "(version_id, against_id, at, verdict, reasons, figures, override_reason) "
        "SELECT version.id, live_version_id, now(), 'pass', '[]', '{\"checks\": []}', '' "
        "FROM indexes_indexversion version JOIN indexes_index ON index_id = indexes_index.id "
        "WHERE is_default AND number = %s",
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


class Program:
    """Asks the web server that runs, with a key of the administrator's."""

    def __init__(self, site: Site) -> None:
        self.port, self.secret = site.port, f"fn_{secrets.token_urlsafe(32)}"
        site.sql(
            "INSERT INTO core_apikey (owner_id, name, prefix, hash, scopes, created_at) "
            "SELECT id, 'faults', %s, %s, '{read,write,manage}', now() FROM core_user WHERE username = 'admin'",
            self.secret[:11],
            hashlib.sha256(self.secret.encode()).hexdigest(),
        )

    def send(self, method: str, path: str, **body: object) -> Any:
        connected = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        head = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        connected.request(method, f"/api/v1{path}", json.dumps(body), head)
        answer = connected.getresponse()
        found = answer.read()
        connected.close()
        assert answer.status < 400, found
        return json.loads(found) if found else None

    def version(self) -> str:
        """What serves, as the web server has it."""
        return str(self.send("POST", "/search", query="sentence")["version"])

    def answers(self) -> bool:
        try:
            return bool(self.version())
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture
def program(site: Site) -> Program:
    return Program(site)


def a_second_after(site: Site) -> None:
    """Waits until a second after the last transition."""
    [(ago,)] = site.sql("SELECT extract(epoch FROM now() - max(at)) FROM indexes_indextransition")
    time.sleep(max(0.0, 1 - float(ago)))


def serving(site: Site) -> int:
    [(number,)] = site.sql(LIVE)
    return int(number)


def test_the_whole_life_with_real_workers(site: Site, program: Program, model: str) -> None:
    number = begin(site, "--model", model)
    until_state(site, number, "validating")
    let_on(site, number)
    assert not program.version().endswith(f"v{number}")
    assert site.manage("index", "promote", str(number))["state"] == "live"
    a_second_after(site)
    assert program.version().endswith(f"v{number}"), "the server that ran before knows it"
    assert f"v{number}" in site.manage("search", "sentence")["version"]
    assert site.manage("index", "rollback")["state"] == "live"
    a_second_after(site)
    assert not program.version().endswith(f"v{number}")
    assert f"v{number}" not in site.manage("search", "sentence")["version"]
    check_all_is_well(site)


def test_what_is_killed_while_a_version_is_paused_is_not_missed(
    site: Site, program: Program, model: str
) -> None:
    number = begin(site, "--model", model)
    until(lambda: vectors(site, number) > 0, "the first vectors", LONG, every=0)
    program.send("POST", f"/indexes/default/versions/{number}/pause")
    site.kill("embed")
    site.kill("fetch")
    assert state(site, number) == "paused"
    assert site.manage("index", "resume", str(number))["state"] == "building"
    until_state(site, number, "validating")
    check_all_is_well(site)


def test_a_worker_killed_while_vectors_are_derived(site: Site) -> None:
    site.sql(
        """UPDATE indexes_embeddingmodel SET training = '{"matryoshka": [128]}' WHERE id = (SELECT model_id
        FROM indexes_indexversion WHERE state = 'live' ORDER BY id LIMIT 1)"""
    )
    number = begin(site, "--dimensions", "128")
    site.kill("fetch")
    until_state(site, number, "validating")
    assert vectors(site, number) == vectors(site, serving(site))
    check_all_is_well(site)


def test_processes_killed_in_each_later_state(site: Site, program: Program, model: str) -> None:
    number = begin(site, "--model", model)
    until_state(site, number, "validating")
    at = f"/indexes/default/versions/{number}"

    program.send("POST", f"{at}/report")
    site.kill("embed")
    reports = "SELECT count(*) FROM indexes_validationreport WHERE version_id = (SELECT id {NUMBERED})"
    until(lambda: site.sql(reports.format(NUMBERED=NUMBERED), number) != [(0,)], "the report", LONG)

    let_on(site, number)
    program.send("POST", f"{at}/shadow", share=1.0)
    site.kill("web")
    until(program.answers, "the web server", LONG)
    compared = "SELECT count(*) FROM search_shadowcomparison"
    until(lambda: program.version() and site.sql(compared) != [(0,)], "a comparison", LONG, every=1)
    assert state(site, number) == "shadow"

    program.send("POST", f"{at}/canary", percent=50)
    site.kill("web")
    site.kill("parse")
    until(program.answers, "the web server", LONG)
    assert state(site, number) == "canary"

    program.send("POST", f"{at}/cancel")
    until_state(site, number, "dropped")
    site.kill("parse")
    until(
        lambda: site.sql("SELECT to_regclass(%s)", table(site, number)) == [(None,)], "its table to go", LONG
    )
    check_all_is_well(site)


def test_two_promotions_at_once(site: Site, program: Program) -> None:
    """Of the same version one is refused; of two versions, whoever is last, one serves."""
    before = serving(site)
    second, third = begin(site, "--m", "8"), begin(site, "--m", "12")
    for number in (second, third):
        until_state(site, number, "validating")
        let_on(site, number)
    assert sorted(promoted(site, second, second)) == [False, True]
    assert serving(site) == second
    site.manage("index", "rollback")
    let_on(site, third)
    assert True in promoted(site, second, third)
    live = "SELECT number FROM indexes_indexversion WHERE state = 'live'"
    assert site.sql(live) == [(serving(site),)], "the state and the pointer say the same"
    a_second_after(site)
    assert program.version().endswith(f"v{serving(site)}")
    if serving(site) != before:
        let_on(site, before)
        site.manage("index", "promote", str(before))
    check_all_is_well(site)


def promoted(site: Site, *numbers: int) -> list[bool]:
    """Whether each of several `manage.py index promote`, begun at once, was let."""

    def one(number: int) -> bool:
        try:
            return bool(site.manage("index", "promote", str(number))["state"] == "live")
        except AssertionError:
            return False

    with ThreadPoolExecutor(len(numbers)) as people:
        return list(people.map(one, numbers))


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
        until(lambda: valid(site, number) == [(False,)], "the index to be begun", LONG)
        site.kill("postgres")
        until(site.database_answers, "the database", LONG)
        assert valid(site, number) == [(False,)], "it is left as it was cut short"
    until_state(site, number, "validating")
    assert valid(site, number) == [(True,)]
    check_all_is_well(site)


def valid(site: Site, number: int) -> list[tuple[Any, ...]]:
    """Whether the version's index can be used; nothing where there is none."""
    statement = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    return site.sql(statement, f"{table(site, number)}_hnsw")


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
    assert state(site, third) == "building"
    site.manage("index", "promote", str(second))
    assert (state(site, second), state(site, third)) == ("live", "building")
    until_state(site, third, "validating")
    site.manage("index", "rollback")
    check_all_is_well(site)


def test_documents_replaced_moved_and_deleted_during_the_build(
    site: Site, program: Program, model: str, tmp_path: Path
) -> None:
    program.send("POST", "/collections", name="Elsewhere", slug="elsewhere")
    for name in ("replaced", "deleted", "moved"):
        (tmp_path / f"{name}.txt").write_text(f"A text that is {name} while a version is built. " * 600)
    site.manage("ingest", str(tmp_path), "--wait")
    number = begin(site, "--model", model)
    until(lambda: vectors(site, number) > 0, "the first vectors", LONG)
    [(gone,)] = site.sql("SELECT id FROM documents_document WHERE filename = 'deleted.txt'")
    program.send("DELETE", f"/documents/{gone}")
    [(moved,)] = site.sql("SELECT id FROM documents_document WHERE filename = 'moved.txt'")
    assert program.send("PATCH", f"/documents/{moved}", collection="elsewhere")["collection"] == "elsewhere"
    for name in ("deleted", "moved"):
        (tmp_path / f"{name}.txt").unlink()
    (tmp_path / "replaced.txt").write_text("Other words stand where those were. " * 900)
    site.manage("ingest", str(tmp_path), "--replace", "--wait")
    until_state(site, number, "validating")
    left = f"SELECT count(*) FROM documents_chunk JOIN {table(site, number)} v ON v.chunk_id = documents_chunk.id "
    assert site.sql(left + "WHERE document_id = %s", gone) == [(0,)]
    until(lambda: vectors(site, number) == vectors(site, serving(site)), "the same chunks in both", LONG)
    assert site.manage("search", "other words stand")["passages"][0]["title"] == "replaced"
    ready = "SELECT state FROM documents_document WHERE id = %s"
    until(lambda: site.sql(ready, moved) == [("ready",)], "the document that was moved", LONG)
    found = site.manage("search", "a text that is moved", "--collection", "elsewhere")["passages"]
    assert {passage["document_id"] for passage in found} == {str(moved)}
    check_all_is_well(site)


def test_a_collection_moves_to_another_index_during_the_build(
    site: Site, program: Program, model: str, tmp_path: Path
) -> None:
    program.send("POST", "/indexes", slug="archive")
    site.manage("index", "build", "--index", "archive", "--model", model)
    at = "FROM indexes_indexversion v JOIN indexes_index i ON i.id = v.index_id WHERE slug = 'archive'"
    until(lambda: site.sql(f"SELECT v.state {at}") == [("validating",)], "the archive's version", LONG)
    site.manage("index", "validate", "archive/1")
    site.manage("index", "promote", "archive/1")
    program.send("POST", "/collections", name="Moving", slug="moving")
    (tmp_path / "moving.txt").write_text("A text whose collection goes elsewhere meanwhile. " * 600)
    site.manage("ingest", str(tmp_path), "--collection", "moving", "--wait")
    number = begin(site, "--model", model)
    until(lambda: vectors(site, number) > 0, "the first vectors", LONG)
    assert site.manage("index", "move", "moving", "--index", "archive", "--wait")["there"]
    until_state(site, number, "validating")
    [(key,)] = site.sql("SELECT id FROM core_collection WHERE slug = 'moving'")
    left = f"SELECT count(*) FROM {table(site, number)} WHERE collection_id = %s"
    until(lambda: site.sql(left, key) == [(0,)], "what is left of it to go", LONG)
    until(program.answers, "connections after the database was killed", LONG)
    assert "archive" in program.version()
    assert site.manage("search", "elsewhere", "--collection", "moving")["passages"]
    until(lambda: site.manage("index", "audit")["ok"], "a clean audit", LONG, every=5)


def test_what_is_put_in_and_taken_out_reaches_every_version(
    site: Site, program: Program, model: str, tmp_path: Path
) -> None:
    number = begin(site, "--model", model)
    (tmp_path / "late.txt").write_text("A text that came while a version was built. " * 300)
    site.manage("ingest", str(tmp_path), "--wait")
    [(gone,)] = site.sql("SELECT id FROM documents_document WHERE filename = '0.txt'")
    program.send("DELETE", f"/documents/{gone}")
    until_state(site, number, "validating")
    until(lambda: vectors(site, number) == vectors(site, serving(site)), "the same chunks in both", LONG)
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
    site.manage("index", "cancel", str(number))


def test_a_rate_limit_that_lasts_costs_time_and_no_document(
    site: Site, program: Program, endpoint: Endpoint, tmp_path: Path
) -> None:
    site.manage("index", "register", "limited", "--base-url", endpoint.url)
    endpoint.faults = ["429"] * 40
    number = begin(site, "--model", "limited")
    waits = f"SELECT error LIKE '%%is away%%' {NUMBERED}"
    until(lambda: site.sql(waits, number) == [(True,)], "the build to say that it waits", LONG)
    tried = f"SELECT coalesce(max(attempts), 0) FROM indexes_embeddingjob WHERE version_id = (SELECT id {NUMBERED})"
    until(lambda: len(endpoint.faults) < 16, "the endpoint to be asked for a while", LONG)
    assert site.sql(tried, number)[0][0] <= 1, "what a lease takes is given back"
    until_state(site, number, "validating")
    let_on(site, number)
    before = serving(site)
    site.manage("index", "promote", str(number))
    endpoint.faults = ["429"] * 16
    (tmp_path / "limited.txt").write_text("A text that comes while nothing can be embedded. " * 300)
    assert site.manage("ingest", str(tmp_path), "--wait")["failed"] == []
    assert endpoint.faults == []
    site.manage("index", "rollback")
    assert serving(site) == before
    check_all_is_well(site)
    site.manage("index", "retire", str(number))


def test_weights_that_were_changed_under_the_same_name_are_refused(site: Site, tmp_path: Path) -> None:
    directory = static_model(tmp_path / "model")
    site.manage("index", "register", str(directory))
    [weights] = directory.rglob("*.safetensors")
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert "sha256" in site.manage("index", "try", str(directory))["problems"][0]
    number = begin(site, "--model", str(directory))
    refused = f"SELECT FROM indexes_embeddingjob WHERE version_id = (SELECT id {NUMBERED}) AND error LIKE '%%sha256%%'"
    until(lambda: site.sql(refused, number), "a job that says so", LONG)
    assert vectors(site, number) == 0
    weights.write_bytes(kept)
    until_state(site, number, "validating")
    check_all_is_well(site)
