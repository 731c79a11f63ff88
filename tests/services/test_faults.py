"""Whatever dies, every document gets ready by itself, with one set of chunks and one vector each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Site, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

DOCUMENTS = 12


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("faults"), PARSE_SECONDS="5")
    try:
        made.start()
        yield made
    finally:
        made.stop()


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


def test_a_killed_embed_worker(site: Site, folder: Path) -> None:
    before = embedded(site)
    put_in(site, folder)
    until(
        lambda: site.sql("SELECT FROM indexes_embeddingjob WHERE lease_until IS NOT NULL LIMIT 1"),
        "a leased job",
    )
    site.kill("embed")
    check_all_is_well(site, folder)
    assert embedded(site) > before


def test_a_killed_and_emptied_broker(site: Site, folder: Path) -> None:
    put_in(site, folder)
    site.kill("valkey")
    check_all_is_well(site, folder)


@pytest.mark.slow
def test_a_killed_parse_worker(site: Site, folder: Path) -> None:
    put_in(site, folder)
    site.kill("parse")
    check_all_is_well(site, folder)


@pytest.mark.slow
def test_a_killed_database(site: Site, folder: Path) -> None:
    put_in(site, folder)
    site.kill("postgres")
    until(site.database_answers, "the database to answer again")
    check_all_is_well(site, folder)


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    other = Site(tmp_path / "other", EMBEDDER="hashing")
    other.start()
    pids = [
        pid for name in ("postgres", "valkey", "web", "parse", "embed", "beat") for pid in other.pids(name)
    ]
    assert len(pids) == 6
    other.stop()
    assert other.process.returncode == 0
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
