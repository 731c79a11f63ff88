"""Whatever dies, every document gets ready by itself, with one set of chunks and one vector each."""

from pathlib import Path

import pytest

from tests.live import Site, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

DOCUMENTS = 12


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Documents of a few chunks each, different in every test."""
    for number in range(DOCUMENTS):
        words = f"{request.node.name} number {number}. " + " ".join(
            f"Sentence {i} of text {number} is here." for i in range(150)
        )
        (tmp_path / f"{request.node.name}-{number}.txt").write_text(words)
    return tmp_path


def put_in(site: Site, folder: Path) -> None:
    assert site.manage("ingest", str(folder))["documents"] == DOCUMENTS


def check_all_is_well(site: Site, folder: Path) -> None:
    """Every document ready; chunks, vectors and postings are exactly what they should be."""
    names = [path.name for path in folder.iterdir()]
    states = "SELECT DISTINCT state FROM documents_document WHERE filename = ANY(%s)"
    until(lambda: site.sql(states, names) == [("ready",)], "every document to be ready", 240)
    [(chunks, ordinals)] = site.sql(
        "SELECT count(*), count(DISTINCT (document_id, ordinal)) FROM documents_chunk c "
        "JOIN documents_document d ON d.id = c.document_id WHERE filename = ANY(%s)",
        names,
    )
    assert chunks == ordinals >= 3 * DOCUMENTS
    [(version,)] = site.sql("SELECT live_version_id FROM indexes_index WHERE is_default")
    either = f"documents_chunk c FULL JOIN embedding_{version} v ON v.chunk_id = c.id"
    assert site.sql(f"SELECT c.id, v.chunk_id FROM {either} WHERE c.id IS NULL OR v.chunk_id IS NULL") == []
    assert site.sql("SELECT id FROM indexes_embeddingjob") == []


def embedded(site: Site) -> int:
    [(version,)] = site.sql("SELECT live_version_id FROM indexes_index WHERE is_default")
    [(count,)] = site.sql(f"SELECT count(*) FROM embedding_{version}")
    return int(count)


def test_a_killed_embed_worker(live_site: Site, folder: Path) -> None:
    before = embedded(live_site)
    put_in(live_site, folder)
    until(
        lambda: live_site.sql("SELECT FROM indexes_embeddingjob WHERE lease_until IS NOT NULL LIMIT 1"),
        "a leased job",
    )
    live_site.kill("embed")
    check_all_is_well(live_site, folder)
    assert embedded(live_site) > before


def test_a_killed_and_emptied_broker(live_site: Site, folder: Path) -> None:
    put_in(live_site, folder)
    live_site.kill("valkey")
    check_all_is_well(live_site, folder)


@pytest.mark.slow
def test_a_killed_parse_worker(live_site: Site, folder: Path) -> None:
    put_in(live_site, folder)
    live_site.kill("parse")
    check_all_is_well(live_site, folder)


@pytest.mark.slow
def test_a_killed_database(live_site: Site, folder: Path) -> None:
    put_in(live_site, folder)
    live_site.kill("postgres")
    until(live_site.database_answers, "the database to answer again")
    check_all_is_well(live_site, folder)


def every_one(found: list[list[int]]) -> list[int]:
    """The processes, once each name has one."""
    return [pid for pids in found for pid in pids] if all(found) else []


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    other = Site(tmp_path / "other", EMBEDDER="hashing")
    other.start()
    names = ("postgres", "valkey", "web", "parse", "embed", "beat")
    pids = until(lambda: every_one([other.pids(name) for name in names]), "all processes")
    other.stop()
    assert other.process.returncode == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
