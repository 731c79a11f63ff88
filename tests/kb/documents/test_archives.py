"""An archive becomes documents of its own, the same ones however often it is read, and goes with them."""

import io
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from kb.core.models import Collection, User
from kb.documents import adding, archives, parsing, queueing
from kb.documents.actions import (
    add_document,
    cancel,
    delete_document,
    pause,
    reparse_document,
    replace_document,
    resume,
)
from kb.documents.adding import Given
from kb.documents.models import Document
from kb.indexes.models import Index
from retrieval.loading.archives import Bounds, Entry, unpack
from tests.conftest import ingest, load_here, work_off

pytestmark = pytest.mark.django_db(transaction=True)

FILES = {
    "reports/bees.md": "# Bees\n\nThe waggle dance tells the direction.",
    "reports/old/wasps.txt": "Wasps build with paper.",
    "copy of wasps.txt": "Wasps build with paper.",
    "photo.raw": "\x00",
    "nothing.txt": "",
}


def zipped(files: dict[str, str], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def archive(alice: User, collection: Collection, index: Index) -> Document:
    """Worked off, with its entries."""
    document = ingest(alice, collection, "insects.zip", zipped(FILES))
    work_off()
    return document


def entries(archive: Document) -> dict[str, tuple[str, str]]:
    return {
        entry.filename: (entry.state, entry.current.text.strip())
        for entry in archive.entries.select_related("current")
    }


def test_its_files_become_documents(archive: Document) -> None:
    assert entries(archive) == {
        "reports/bees.md": ("ready", "Bees\n\nThe waggle dance tells the direction."),
        "reports/old/wasps.txt": ("ready", "Wasps build with paper."),
    }
    bees = archive.entries.get(filename="reports/bees.md")
    assert (bees.title, bees.collection, bees.created_by) == ("Bees", archive.collection, archive.created_by)


def test_its_text_lists_what_it_held_and_what_could_not_be_read(archive: Document) -> None:
    archive.refresh_from_db()
    text = archive.current.text
    assert archive.state == "ready"
    assert "insects.zip holds 5 files." in text
    assert "- reports/bees.md\n" in text
    assert "- copy of wasps.txt (the same as reports/old/wasps.txt)" in text
    assert "- photo.raw: Files of the type .raw cannot be read" in text
    assert "- nothing.txt: nothing.txt is empty." in text


def test_read_twice_it_is_the_same(alice: User, archive: Document) -> None:
    before = set(archive.entries.values_list("pk", "current"))
    text = archive.current.text
    reparse_document(alice, archive)
    work_off()
    archive.refresh_from_db()
    assert (archive.state, archive.current.number, archive.current.text) == ("ready", 2, text)
    assert set(archive.entries.values_list("pk", "current")) == before


def test_a_new_version_replaces_adds_and_removes_entries(alice: User, archive: Document) -> None:
    bees = archive.entries.get(filename="reports/bees.md")
    gone = archive.entries.get(filename="reports/old/wasps.txt")
    changed = {"reports/bees.md": "Bees sleep.", "moved.md": FILES["reports/bees.md"]}
    replace_document(alice, archive, ContentFile(zipped(changed), "insects.zip"))
    for _ in range(2):
        work_off()
    assert entries(archive) == {
        "reports/bees.md": ("ready", "Bees sleep."),
        "moved.md": ("ready", "Bees\n\nThe waggle dance tells the direction."),
    }
    bees.refresh_from_db()
    assert bees.current.number == 2
    assert not Document.objects.filter(pk=gone.pk).exists()


def test_replaced_by_another_kind_of_file_its_entries_go(alice: User, archive: Document) -> None:
    replace_document(alice, archive, ContentFile(b"Only words.", "insects.txt"))
    work_off()
    assert not archive.entries.exists()


def test_deleting_it_deletes_its_entries_and_their_originals(alice: User, archive: Document) -> None:
    names = [archive.current.file.name, *archive.entries.values_list("current__file", flat=True)]
    assert all(default_storage.exists(name) for name in names)
    delete_document(alice, archive)
    assert not Document.objects.exists()
    assert not any(default_storage.exists(name) for name in names)


def test_a_file_that_the_collection_holds_is_recognised(
    alice: User, collection: Collection, index: Index
) -> None:
    known = ingest(alice, collection, "wasps.txt", FILES["reports/old/wasps.txt"])
    archive = ingest(alice, collection, "insects.zip", zipped(FILES))
    assert set(archive.entries.values_list("filename", flat=True)) == {"reports/bees.md"}
    assert "- reports/old/wasps.txt (the same as wasps.txt)" in archive.current.text
    delete_document(alice, archive)
    assert Document.objects.get() == known


def test_its_entries_are_paused_and_cancelled_with_it(
    alice: User, collection: Collection, index: Index
) -> None:
    document = add_document(alice, collection, ContentFile(zipped(FILES), "insects.zip")).document
    parsing.parse(document.pk, load_here)
    assert pause(alice, document) == 3
    assert queueing.claim_next(collection.pk) == []
    assert resume(alice, document) == 3
    assert cancel(alice, document) == 3
    assert set(Document.objects.values_list("state", flat=True)) == {"cancelled"}


def test_cancelled_while_it_is_unpacked_it_stops(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = add_document(alice, collection, ContentFile(zipped(FILES), "insects.zip")).document

    def cancelling(path: Path, bounds: Bounds) -> object:
        cancel(alice, document)
        yield from unpack(path, bounds)

    monkeypatch.setattr(archives, "unpack", cancelling)
    parsing.parse(document.pk, load_here)
    document.refresh_from_db()
    assert (document.state, document.entries.count()) == ("cancelled", 0)


def test_many_entries_come_in_batches(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [Entry(f"{number}.txt", f"Text {number}.".encode()) for number in range(120)]
    monkeypatch.setattr(archives, "unpack", lambda path, bounds: iter(many))
    document = add_document(alice, collection, ContentFile(zipped(FILES), "many.zip")).document
    parsing.parse(document.pk, load_here)
    assert document.entries.filter(state="queued").count() == 120


def test_an_archive_that_is_not_fit_says_why(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "insects.zip", b"PK\x03\x04 and nothing more")
    assert (document.state, document.error_code) == ("failed", "broken")
    assert "Pack it anew" in document.error


def test_a_file_that_is_not_fit_is_told_and_the_others_are_taken(
    alice: User, collection: Collection, index: Index
) -> None:
    document = ingest(alice, collection, "insects.zip", zipped(FILES | {"../out.md": "Out."}))
    assert document.state == "ready"
    assert "- ../out.md: ../out.md leads out of the folder" in document.current.text
    assert document.entries.count() == 2


def test_an_archive_of_which_nothing_is_fit_fails(alice: User, collection: Collection, index: Index) -> None:
    document = ingest(alice, collection, "insects.zip", zipped({"../out.md": "Out.", "photo.raw": "x"}))
    assert (document.state, document.error_code) == ("failed", "broken")


def test_no_more_is_held_than_a_batch_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "BATCH_BYTES", 1000)
    alive: list[weakref.ref[Given]] = []

    def entries() -> Iterator[Given]:
        for number in range(40):
            given = Given(f"{number}.txt", str(number), ContentFile(b"x" * 300, f"{number}.txt"))
            alive.append(weakref.ref(given.file))
            yield given

    sizes = []
    for batch in archives.batches(entries()):
        sizes.append(len(batch))
        assert sum(file() is not None for file in alive) <= 4
        batch.clear()
    assert sizes == [4] * 10
    monkeypatch.setattr(archives, "BATCH", 3)
    assert [len(batch) for batch in archives.batches(entries())] == [3] * 13 + [1]


def test_a_file_larger_than_an_upload_is_not_unpacked(
    alice: User, collection: Collection, index: Index, settings: object
) -> None:
    settings.MAX_UPLOAD_BYTES = 2000
    document = ingest(
        alice,
        collection,
        "mixed.zip",
        zipped({"big.txt": "words " * 999, "small.txt": "Words."}, zipfile.ZIP_DEFLATED),
    )
    work_off()
    assert set(entries(document)) == {"small.txt"}
    document.refresh_from_db()
    assert "- big.txt: big.txt in the archive is larger than" in document.current.text


def test_a_large_archive_is_taken_apart_in_several_turns(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow it is: each turn goes on where the one before stopped, and none counts as a failure."""
    monkeypatch.setattr(archives, "SECONDS_AT_ONCE", -1.0)
    monkeypatch.setattr(archives, "BATCH", 1)
    files = {f"{number}.txt": f"Text {number}." for number in range(5)}
    document = add_document(alice, collection, ContentFile(zipped(files), "slow.zip")).document
    for taken in range(1, 6):
        parsing.parse(document.pk, load_here)
        document.refresh_from_db()
        assert (document.state, document.attempts, document.entries.count()) == ("queued", 0, taken)
    work_off()
    document.refresh_from_db()
    assert document.state == "ready"
    assert entries(document) == {name: ("ready", text) for name, text in files.items()}
    assert "slow.zip holds 5 files." in document.current.text


def test_names_that_differ_only_where_they_are_cut_are_told(
    alice: User, collection: Collection, index: Index
) -> None:
    long = "x" * adding.NAME_LENGTH
    document = ingest(alice, collection, "long.zip", zipped({f"a{long}.txt": "One.", f"b{long}.txt": "Two."}))
    work_off()
    document.refresh_from_db()
    assert document.entries.count() == 1
    assert "The names of two files are the same in their last part." in document.current.text
