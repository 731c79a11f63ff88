"""Whatever dies, every document gets ready or says why it failed, with one set of chunks and one vector each.

`make test-faults` runs all of these, each on a real site, and prints a line for each.
"""

import hashlib
import http.client
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from reportlab.pdfgen.canvas import Canvas

from tests.live import Site, until
from tests.places import ROOT
from tests.retrieval.loading.conftest import make_docx, make_pdf, zipped
from tests.retrieval.loading.test_hostile import BOMB, REFERENCE_LOOP

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

DOCUMENTS = 12
WAITS_FOR = (
    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, %s) > 0 "
    "AND pid <> pg_backend_pid()"
)
AT_WORK = "SELECT FROM documents_documentstage WHERE state = 'running' AND stage = %s LIMIT 1"
STATE = "SELECT state, error_code FROM documents_document WHERE id = %s"
FEW_BYTES = 2_000_000
LEASED = "SELECT FROM indexes_embeddingjob WHERE lease_until IS NOT NULL LIMIT 1"

MANY = 600
SOME_OF_MANY = "SELECT count(*) FROM documents_document WHERE filename LIKE 'one-of-many-%%'"
OVER = "SELECT bool_and(state IN ('ready', 'failed')) FROM documents_document WHERE filename = ANY(%s)"
ENDS = "SELECT filename, error_code FROM documents_document WHERE filename = ANY(%s)"
READING = """
    SELECT FROM documents_documentstage stage JOIN documents_document d ON d.id = document_id
    WHERE filename = 'many-pages.pdf' AND stage.stage = 'parse' AND stage.state = 'running'
"""
READ_AT = """
    SELECT attempt FROM documents_documentstage stage JOIN documents_document d ON d.id = document_id
    WHERE filename = 'many-pages.pdf' AND stage.stage = 'parse'
"""
PARSED = """
    SELECT FROM documents_documentstage JOIN documents_document d ON d.id = document_id
    WHERE filename = %s AND stage = 'parse' AND documents_documentstage.state = 'done'
"""
TURNS = "SELECT count(*) FROM documents_webhost WHERE not_before > now() + interval '200 seconds'"
CLAIMS = (
    "SELECT count(*) FROM documents_webpage WHERE attempts = 1 AND next_at > now() + interval '8 minutes'"
)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Documents of a few chunks each, different in every test."""
    for number in range(DOCUMENTS):
        words = f"{request.node.name} number {number}. " + " ".join(
            f"Sentence {i} of text {number} of {request.node.name} is here." for i in range(150)
        )
        (tmp_path / f"{request.node.name}-{number}.txt").write_text(words)
    return tmp_path


def put_in(site: Site, folder: Path) -> None:
    assert site.manage("ingest", str(folder))["documents"] == DOCUMENTS


def put_in_and_strike(
    site: Site, folder: Path, strike: Callable[[], object], when: str, *given: object
) -> None:
    """Puts the documents in; does `strike` at the first moment at which the query `when` finds a row."""
    with ThreadPoolExecutor(1) as beside:
        struck = beside.submit(lambda: (until(lambda: site.sql(when, *given), when, every=0), strike()))
        put_in(site, folder)
        struck.result()


def check_all_is_well(site: Site, names: list[str]) -> None:
    """Every document ready; chunks, vectors, jobs, postings and files are exactly what they should be."""
    waiting = "SELECT count(*) FROM documents_document WHERE filename = ANY(%s) AND state <> 'ready'"
    until(lambda: site.sql(waiting, names) == [(0,)], "every document to be ready", 240)
    assert site.sql("SELECT count(*) FROM documents_document WHERE filename = ANY(%s)", names) == [
        (len(names),)
    ]
    [(chunks, ordinals)] = site.sql(
        "SELECT count(*), count(DISTINCT (document_id, ordinal)) FROM documents_chunk c "
        "JOIN documents_document d ON d.id = c.document_id WHERE filename = ANY(%s)",
        names,
    )
    assert chunks == ordinals >= 3 * len(names)
    check_store(site)


def check_store(site: Site) -> None:
    """One vector for each chunk, no job left, and a stored original for each revision and none besides."""
    [(version,)] = site.sql("SELECT live_version_id FROM indexes_index WHERE is_default")
    either = f"documents_chunk c FULL JOIN embedding_{version} v ON v.chunk_id = c.id"
    assert site.sql(f"SELECT c.id, v.chunk_id FROM {either} WHERE c.id IS NULL OR v.chunk_id IS NULL") == []
    assert site.sql("SELECT id FROM indexes_embeddingjob") == []
    kept = {name for (name,) in site.sql("SELECT DISTINCT sha256 FROM documents_documentrevision")}
    assert {path.parent.name + path.name for path in originals(site)} == kept


def originals(site: Site) -> list[Path]:
    return [path for path in (site.home / "files" / "originals").rglob("*") if path.is_file()]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def embedded(site: Site) -> int:
    [(version,)] = site.sql("SELECT live_version_id FROM indexes_index WHERE is_default")
    [(count,)] = site.sql(f"SELECT count(*) FROM embedding_{version}")
    return int(count)


@pytest.fixture
def key(live_site: Site) -> Iterator[str]:
    """The administrator's key for uploads, until the test ends."""
    secret = f"fn_{secrets.token_urlsafe(32)}"
    live_site.sql(
        "INSERT INTO core_apikey (owner_id, name, prefix, hash, scopes, created_at) "
        "SELECT id, 'faults', %s, %s, '{read,write}', now() FROM core_user WHERE username = 'admin'",
        secret[:11],
        hashlib.sha256(secret.encode()).hexdigest(),
    )
    yield secret
    live_site.sql("DELETE FROM core_apikey WHERE prefix = %s", secret[:11])


def form(name: str, content: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form with one file."""
    head = f'--X\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--X--\r\n"
    return {"Content-Type": "multipart/form-data; boundary=X", "Content-Length": str(len(body))}, body


def call(
    site: Site, key: str, method: str, path: str, name: str = "", content: bytes = b"", given: Any = None
) -> Any:
    """Status and JSON of a request to the API, with a file or with what is given as JSON."""
    headers, body = form(name, content) if name else ({}, b"")
    if given is not None:
        headers, body = {"Content-Type": "application/json"}, json.dumps(given).encode()
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.request(method, f"/api/v1/{path}", body, {"Authorization": f"Bearer {key}", **headers})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    return answer.status, json.loads(said) if said else None


def kill_parsing_child(site: Site) -> None:
    """kill -9 of the process that reads files for the worker, with whatever it has forked."""
    (worker,) = site.pids("parse")
    for process in descendants(worker):
        if is_reader(process):
            os.kill(process, signal.SIGKILL)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descendants(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *descendants(child))]


@pytest.mark.slow
def test_a_killed_embed_worker(live_site: Site, folder: Path) -> None:
    before = embedded(live_site)
    put_in_and_strike(live_site, folder, lambda: live_site.kill("embed"), LEASED)
    check_all_is_well(live_site, names(folder))
    assert embedded(live_site) > before


@pytest.mark.slow
def test_a_killed_and_emptied_broker(live_site: Site, folder: Path) -> None:
    put_in_and_strike(live_site, folder, lambda: live_site.kill("valkey"), LEASED)
    check_all_is_well(live_site, names(folder))


@pytest.mark.slow
def test_the_same_task_delivered_many_times(live_site: Site, folder: Path) -> None:
    """To two workers, which find all of the work and all of the messages at the same moment."""
    [(version,)] = live_site.sql("SELECT live_version_id FROM indexes_index WHERE is_default")
    messages = [("kb.indexes.tasks.embed_chunks_task", version), ("kb.documents.tasks.parse_documents_task",)]
    with another_embed_worker(live_site) as other:
        with stopped(other, *live_site.pids("embed")):
            put_in(live_site, folder)
            live_site.send(*messages * 8)
        check_all_is_well(live_site, names(folder))


@contextmanager
def another_embed_worker(site: Site) -> Iterator[int]:
    """Beside the one that `up` looks after; gives its process."""
    command = ["-m", "celery", "-A", "kb", "worker", "-n", "other@%h", "-Q", "embed", "--pool", "solo"]
    with (site.home / "logs" / "other.log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=site.environment, stdout=log, stderr=log
        )
    try:
        seen = "SELECT FROM core_heartbeat WHERE queue = 'embed' AND pid = %s"
        until(lambda: site.sql(seen, worker.pid), "the other worker", 120)
        yield worker.pid
    finally:
        worker.terminate()
        worker.wait(60)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """The processes stand still while the block runs."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_two_uploads_of_the_same_file_at_once(live_site: Site, folder: Path, key: str) -> None:
    name, content = "twin.txt", next(folder.iterdir()).read_bytes()
    collection = own_collection(live_site)
    answers: list[Any] = []
    upload = f"collections/{collection}/documents"
    together = [
        threading.Thread(target=lambda: answers.append(call(live_site, key, "POST", upload, name, content)))
        for _ in range(4)
    ]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert [status for status, _ in answers] == [202] * 4
    assert sum(said["items"][0]["created"] for _, said in answers) == 1
    check_all_is_well(live_site, [name])


def own_collection(site: Site) -> str:
    """The slug of the collection that `ingest` puts into, made if need be."""
    [(slug,)] = site.sql("SELECT slug FROM core_collection WHERE name = 'Library'") or [("",)]
    return str(slug) or str(site.manage("ingest", "tests/places.py")["collection"])


@pytest.mark.slow
def test_a_deletion_during_embedding(live_site: Site, folder: Path, key: str) -> None:
    deleted = []

    def delete() -> None:
        found = live_site.sql(
            "SELECT d.id, filename FROM indexes_embeddingjob j JOIN documents_chunk c ON c.id = j.chunk_id "
            "JOIN documents_document d ON d.id = c.document_id WHERE lease_until IS NOT NULL LIMIT 1"
        )
        for document, filename in found:
            deleted.append(filename)
            assert call(live_site, key, "DELETE", f"documents/{document}")[0] == 204

    put_in_and_strike(live_site, folder, delete, LEASED)
    check_all_is_well(live_site, [name for name in names(folder) if name not in deleted])
    assert len(deleted) == 1


@pytest.mark.slow
def test_a_web_process_killed_during_an_upload(live_site: Site, folder: Path, key: str) -> None:
    path = f"/api/v1/collections/{own_collection(live_site)}/documents"
    before = len(originals(live_site))
    headers, body = form("cut.txt", b"never whole " * 400_000)
    connection = http.client.HTTPConnection("127.0.0.1", live_site.port, timeout=60)
    connection.putrequest("POST", path)
    for name, value in {"Authorization": f"Bearer {key}", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body[: len(body) // 2])
    live_site.kill("web")
    connection.close()
    until(live_site.is_up, "the web to answer again")
    assert live_site.sql("SELECT FROM documents_document WHERE filename = 'cut.txt'") == []
    assert len(originals(live_site)) == before
    assert list((live_site.home / "uploads").iterdir()) == []
    put_in(live_site, folder)
    check_all_is_well(live_site, names(folder))


@pytest.mark.slow
def test_web_servers_that_never_answer_delay_no_upload(live_site: Site, folder: Path, key: str) -> None:
    """More of them than processes that parse; and whoever waits for them may be killed."""
    name, content = "meanwhile.txt", next(folder.iterdir()).read_bytes()
    collection = own_collection(live_site)
    with silent_servers(3) as (ports, accept), sources(live_site, key, collection, ports):
        accept()
        assert call(live_site, key, "POST", f"collections/{collection}/documents", name, content)[0] == 202
        until(lambda: live_site.sql(PARSED, name), "the upload to be parsed", 10)
        assert live_site.sql(TURNS) == live_site.sql(CLAIMS) == [(3,)], "all of them are still waited for"
        live_site.kill("fetch")
        accept()  # from the new one, long before claims and turns end by themselves
    check_all_is_well(live_site, [name])


@contextmanager
def silent_servers(count: int) -> Iterator[tuple[list[int], Callable[[], None]]]:
    """Their ports, and what waits until each was connected to once more; they never say a word."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]

        def accept() -> None:
            for server in servers:
                server.settimeout(120)
                stack.enter_context(server.accept()[0])

        yield [server.getsockname()[1] for server in servers], accept


@contextmanager
def sources(site: Site, key: str, collection: str, ports: list[int]) -> Iterator[None]:
    """The collection is fed from a page on each port of this machine while the block runs."""
    path = f"collections/{collection}/sources"
    made = []
    for port in ports:
        url = f"http://on-this-machine.example:{port}/"
        status, source = call(site, key, "POST", path, given={"url": url, "kind": "page"})
        assert status == 202, source
        made.append(source["id"])
    yield
    for source in made:
        assert call(site, key, "DELETE", f"{path}/{source}")[0] == 204


@pytest.mark.slow
def test_a_killed_parsing_child(live_site: Site, folder: Path) -> None:
    put_in_and_strike(live_site, folder, lambda: kill_parsing_child(live_site), AT_WORK, "parse")
    check_all_is_well(live_site, names(folder))


@pytest.mark.slow
def test_a_killed_parsing_child_alone(live_site: Site, tmp_path: Path) -> None:
    """Not with the process that forks it: the kernel short of memory, or a person, chooses the one that reads."""
    many_pages(tmp_path / "many-pages.pdf")
    with ThreadPoolExecutor(1) as beside:
        struck = beside.submit(
            lambda: (
                until(lambda: live_site.sql(READING), "the file to be read", every=0),
                kill_readers(live_site),
            )
        )
        assert live_site.manage("ingest", str(tmp_path))["documents"] == 1
        struck.result()
    check_all_is_well(live_site, ["many-pages.pdf"])
    [(attempt,)] = live_site.sql(READ_AT)
    assert attempt >= 2


def many_pages(path: Path) -> None:
    """A PDF that takes seconds to read, with little text."""
    canvas = Canvas(str(path))
    for page in range(3000):
        canvas.drawString(72, 400, f"Words number {page * page} stand here alone.")
        canvas.showPage()
    canvas.save()


def kill_readers(site: Site) -> None:
    """kill -9 of the children that read, none that merely waits; what forks them lives on."""
    forking = zygotes(site)
    reading = until(
        lambda: [pid for one in zygotes(site) for pid in children(one) if is_busy(pid)], "a child", every=0
    )
    for reader in reading:
        os.kill(reader, signal.SIGKILL)
    assert set(forking) <= set(zygotes(site))


def zygotes(site: Site) -> list[int]:
    """What forks the children that read, of each process that parses."""
    return [child for process in parsers(site) for child in children(process) if is_reader(child)]


def parsers(site: Site) -> set[int]:
    """The worker and the processes of its pool."""
    (worker,) = site.pids("parse")
    return {worker, *(child for child in children(worker) if not is_reader(child))}


def is_busy(pid: int) -> bool:
    """Whether it has computed for a twentieth of a second."""
    try:
        computed = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]
    except FileNotFoundError:
        return False
    return int(computed) >= 5


def is_reader(pid: int) -> bool:
    try:
        return b"retrieval.loading.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_full_disk_while_storing(live_site: Site, folder: Path, key: str) -> None:
    """On a small disk of its own, where this account may mount one."""
    stored = live_site.home / "files"
    upload = f"collections/{own_collection(live_site)}/documents"
    with small_disk(stored):
        status, problem = call(live_site, key, "POST", upload, "big.txt", b"too much " * 400_000)
        assert (status, problem["code"]) == (507, "not_stored")
        assert [path for path in stored.rglob("*") if path.is_file()] == []
    assert live_site.sql("SELECT FROM documents_document WHERE filename = 'big.txt'") == []
    put_in(live_site, folder)
    check_all_is_well(live_site, names(folder))


@pytest.mark.slow
def test_a_file_that_the_disk_does_not_take(live_site: Site, folder: Path, key: str) -> None:
    """Whatever account this is: no file may grow beyond some size, for the web and for what unpacks archives."""
    upload = f"collections/{own_collection(live_site)}/documents"
    left = {path for path in (live_site.home / "files").rglob("*") if path.is_file()}
    with no_file_beyond(FEW_BYTES, live_site.pids("web")):
        for size in (FEW_BYTES + 1, 4 * FEW_BYTES):  # as it is stored, and as it arrives
            status, problem = call(live_site, key, "POST", upload, "big.txt", b"x" * size)
            assert (status, problem["code"]) == (507, "not_stored")
    assert {path for path in (live_site.home / "files").rglob("*") if path.is_file()} == left
    assert live_site.sql("SELECT FROM documents_document WHERE filename = 'big.txt'") == []
    inner = f"<p>Words.</p><!--{secrets.token_hex(FEW_BYTES)}-->"
    with no_file_beyond(FEW_BYTES, parsers(live_site)):
        content = zipped({"inner.html": inner})
        status, said = call(live_site, key, "POST", upload, "packed.zip", content)
        assert status == 202, said
        document = said["items"][0]["document"]["id"]
        until(
            lambda: live_site.sql(STATE, document) == [("failed", "not_stored")], "the archive to fail", 120
        )
    assert call(live_site, key, "POST", f"documents/{document}/retry")[0] == 202
    until(lambda: live_site.sql(STATE, document) == [("ready", "")], "the archive to be read", 120)
    put_in(live_site, folder)
    check_all_is_well(live_site, names(folder))


@contextmanager
def no_file_beyond(size: int, pids: Iterable[int]) -> Iterator[None]:
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """One megabyte over the folder while the block runs."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this account may not mount a small disk to fill up")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["parse", "embed"])
def test_a_worker_killed_in_a_stage(live_site: Site, folder: Path, stage: str) -> None:
    put_in_and_strike(live_site, folder, lambda: live_site.kill(stage), AT_WORK, stage)
    check_all_is_well(live_site, names(folder))


@pytest.mark.slow
@pytest.mark.parametrize("table", ["documents_chunk", "indexes_postingblock"])
def test_a_worker_killed_while_it_writes(live_site: Site, folder: Path, table: str) -> None:
    """Chunks, and postings: its transaction waits for the table, and nobody is there when that is free."""
    with live_site.connect() as holding:
        holding.execute(f"LOCK TABLE {table} IN SHARE MODE")
        put_in(live_site, folder)
        until(lambda: live_site.sql(WAITS_FOR, table), f"the worker to write {table}")
        live_site.kill("parse")
    check_all_is_well(live_site, names(folder))


@pytest.mark.slow
def test_a_killed_database(live_site: Site, folder: Path) -> None:
    with stopped(*live_site.pids("embed")):
        put_in(live_site, folder)
    until(lambda: live_site.sql(LEASED), "work to be under way", every=0)
    live_site.kill("postgres")
    until(live_site.database_answers, "the database to answer again")
    check_all_is_well(live_site, names(folder))


@pytest.mark.slow
def test_a_database_restarted_while_vectors_are_written(live_site: Site, folder: Path) -> None:
    [(version,)] = live_site.sql("SELECT live_version_id FROM indexes_index WHERE is_default")
    table = f"embedding_{version}"
    before = live_site.pids("postgres")
    holding = live_site.connect()
    try:
        holding.execute(f"LOCK TABLE {table} IN SHARE MODE")
        put_in(live_site, folder)
        until(lambda: live_site.sql(WAITS_FOR, table), "vectors to be written", 120)
        os.kill(before[0], signal.SIGINT)  # PostgreSQL's fast shutdown, as for a restart
        until(lambda: live_site.pids("postgres") not in ([], before), "another postgres")
    finally:
        holding.close()
    until(live_site.database_answers, "the database to answer again")
    check_all_is_well(live_site, names(folder))


HOSTILE: dict[str, tuple[bytes, set[str]]] = {
    "loop.pdf": (REFERENCE_LOOP, {"broken", "needs_ocr", "empty"}),
    "nested.html": (b"<div>" * 60_000 + b"deep", {"", "timeout", "memory"}),
    "line.txt": (b"word " * (9 << 20), {"too_large", "memory"}),
    "binary.txt": (b"words\x00\x00\x01" * 40, {"mismatch"}),
    "locked.pdf": (make_pdf("secret"), {"encrypted"}),
    "half.docx": (make_docx()[:2000], {"broken"}),
    "laughs.xml": (BOMB + b"<x>&a11;</x>", {"", "broken", "empty"}),
    "bomb.zip": (zipped({"zeros.txt": bytes(40 << 20)}), {"too_large"}),
    "brackets.json": (b"[" * 1_000_000, {"broken"}),
}


@pytest.mark.slow
def test_hostile_files_end_no_worker(live_site: Site, tmp_path: Path) -> None:
    before = parsers(live_site)
    for name, (content, _) in HOSTILE.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "good.txt").write_text("Good words after all of that.")
    assert live_site.manage("ingest", str(tmp_path))["documents"] == len(HOSTILE) + 1
    until(lambda: live_site.sql(OVER, names(tmp_path)) == [(True,)], "all of them to end", 300)
    ended = dict(live_site.sql(ENDS, names(tmp_path)))
    assert ended.pop("good.txt") == ""
    assert {name: code for name, code in ended.items() if code not in HOSTILE[name][1]} == {}
    assert parsers(live_site) == before


@pytest.mark.slow
def test_a_directory_put_in_is_gone_on_with_after_ctrl_c(live_site: Site, tmp_path: Path) -> None:
    for number in range(MANY):
        (tmp_path / f"one-of-many-{number}.txt").write_text(f"Text number {number} of many.")
    command = [sys.executable, "manage.py", "ingest", str(tmp_path), "--json"]
    first = subprocess.Popen(
        command, cwd=ROOT, env=live_site.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: live_site.sql(SOME_OF_MANY) > [(0,)], "some of them", every=0)
    first.send_signal(signal.SIGINT)
    said = json.loads(first.communicate(timeout=120)[0])
    assert (first.returncode, said["interrupted"]) == (130, True)
    [(before,)] = live_site.sql(SOME_OF_MANY)
    assert 0 < before < MANY
    live_site.manage("ingest", str(tmp_path))
    assert live_site.sql(SOME_OF_MANY) == [(MANY,)]
    waiting = (
        "SELECT count(*) FROM documents_document WHERE filename LIKE 'one-of-many-%%' AND state <> 'ready'"
    )
    until(lambda: live_site.sql(waiting) == [(0,)], "every document to be ready", 240)
    check_store(live_site)


def every_one(found: list[list[int]]) -> list[int]:
    """The processes, once each name has one."""
    return [pid for pids in found for pid in pids] if all(found) else []


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    other = Site(tmp_path / "other", EMBEDDER="hashing")
    other.start()
    services = ("postgres", "valkey", "web", "control", "parse", "embed", "fetch", "beat")
    pids = until(lambda: every_one([other.pids(name) for name in services]), "all processes")
    other.stop()
    assert other.process.returncode == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
