"""What all tests share: the embedded database around the session, people, collections, an index."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.db import connection

from kb.core import pools
from kb.core.embedded.lease import postgres_lease
from kb.core.models import Collection, Membership, User
from kb.documents import parsing, stages
from kb.documents.actions import add_document
from kb.documents.models import Document
from kb.indexes import embedding, settling
from kb.indexes.actions import ensure_default_index
from kb.indexes.models import Index, IndexVersion
from retrieval.loading.loaders import load
from retrieval.spans import LoadedText
from tests import flushing
from tests.live import Site
from tests.places import ROOT, shared_data


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser comes last: its driver keeps an event loop, beside which Django refuses the database.

    What takes longest comes first: files of tests are shared out in this order.
    """
    items.sort(key=lambda item: ("browser" in item.path.parts, "services" not in item.path.parts))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """The embedded PostgreSQL runs while tests need a database, unless DATABASE_URL names another."""
    if settings.DATABASE_URL:
        yield
        return
    with postgres_lease(settings.KB_HOME):
        yield
        pools.close()
        connection.close()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Ends the search arms' connections before the test database is dropped."""
    flushing.empty_quickly()
    yield
    pools.close()


@pytest.fixture
def data() -> Path:
    """Skips where the labelled collections are absent."""
    if not shared_data().is_dir():
        pytest.skip(f"needs the labelled collections in {shared_data()} (KB_TEST_DATA names another place)")
    return shared_data()


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: object) -> None:
    """Each test stores originals in a folder of its own."""
    settings.MEDIA_ROOT = tmp_path / "files"  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def empty_caches() -> None:
    """What one test cached, such as that a message waits in the broker, is not there for the next."""
    for cache in caches.all():
        cache.clear()


@pytest.fixture(autouse=True)
def no_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life are written beside the transaction of a test, and would outlive it."""
    monkeypatch.setattr(stages, "BEAT_SECONDS", 3600.0)


@pytest.fixture
def alice(db: None) -> User:
    """Owns the collection."""
    return User.objects.create_user("alice", "alice@example.org", "alice-password")


@pytest.fixture
def bob(db: None) -> User:
    """Is a member of it."""
    return User.objects.create_user("bob", "bob@example.org", "bob-password")


@pytest.fixture
def charlie(db: None) -> User:
    """Is a stranger to it."""
    return User.objects.create_user("charlie", "charlie@example.org", "charlie-password")


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.org", "root-password")


@pytest.fixture
def collection(alice: User, bob: User) -> Collection:
    """Alice's, with Bob as a reader."""
    made = Collection.objects.create(
        name="Papers", slug="papers", owner=alice, visibility=Collection.Visibility.MEMBERS
    )
    Membership.objects.create(collection=made, user=bob)
    return made


@pytest.fixture
def index(db: None) -> Iterator[Index]:
    """The default index; its table is dropped afterwards, since a flush does not know of it."""
    made = ensure_default_index()
    yield made
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE tablename ~ '^embedding_[0-9]+$'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'DROP TABLE "{table}"')


def load_here(path: Path, filename: str) -> LoadedText:
    """Loads without a child process; isolation has tests of its own."""
    return load(path.read_bytes(), filename)


def work_off() -> None:
    """Does what the workers would do, until nothing is left."""
    for document_id in Document.objects.filter(state=Document.State.QUEUED).values_list("pk", flat=True):
        parsing.parse(document_id, load_here)
    for version in IndexVersion.objects.maintained().select_related("model"):
        while embedding.embed_for(version, 60):
            pass
    settling.settle()


def ingest(actor: User, collection: Collection, name: str, content: str | bytes) -> Document:
    """A document that is in and worked off."""
    content = content.encode() if isinstance(content, str) else content
    document = add_document(actor, collection, ContentFile(content, name)).document
    work_off()
    document.refresh_from_db()
    return document


@pytest.fixture(scope="session")
def live_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`manage.py up` with its own database, broker and workers, and with the real embedding model."""
    loopback = str(ROOT / "tests/services/loopback")  # its fetcher reaches a server of a test by one name
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"  # of all that run tests
    site = Site(tmp_path_factory.mktemp("site"), cache=cache, PYTHONPATH=loopback)
    try:
        site.start()
        yield site
    finally:
        site.stop()
