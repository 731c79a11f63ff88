"""Things that go wrong at the worst moment: after each the document is whole, or failed with a true reason."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connections

from kb.core.models import Collection, User
from kb.documents import originals, parsing, uploading
from kb.documents.actions import add_document, delete_document, open_upload
from kb.documents.models import Chunk, Document, DocumentRevision, DocumentStage, Upload
from kb.indexes import embedding_table
from kb.indexes.models import EmbeddingJob, Index
from retrieval.loading.isolation import IsolatedLoader, Limits
from retrieval.spans import LoadedText
from tests.conftest import load_here, work_off

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "Medlars are eaten when they are soft. " * 100


def put(actor: User, collection: Collection, name: str = "medlars.txt", text: str = TEXT) -> Document:
    return add_document(actor, collection, ContentFile(text.encode(), name)).document


def both(first: object, second: object) -> None:
    """Runs the two at the same time, each with a connection of its own."""
    together = threading.Barrier(2)

    def run(work: object) -> None:
        try:
            together.wait(30)
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(run, work) for work in (first, second)]:
            done.result(60)


def stored() -> list[str]:
    return sorted(originals.stored())


def test_the_same_task_twice_at_once(alice: User, collection: Collection, index: Index) -> None:
    document = put(alice, collection)
    loads = []

    def load(path: Path, filename: str) -> LoadedText:
        loads.append(filename)
        return load_here(path, filename)

    both(lambda: parsing.parse(document.pk, load), lambda: parsing.parse(document.pk, load))
    assert len(loads) == 1
    work_off()
    document.refresh_from_db()
    assert document.state == "ready"
    ordinals = list(document.chunks.values_list("ordinal", flat=True))
    assert ordinals == list(range(len(ordinals)))
    assert embedding_table.count(index.live_version) == len(ordinals)


def test_two_turns_of_one_collection_share_its_documents(
    alice: User, collection: Collection, index: Index
) -> None:
    for number in range(12):
        put(alice, collection, f"{number}.txt", f"Text {number}.")
    loads: list[str] = []

    def turn() -> None:
        parsing.parse_for(collection.pk, 60, lambda path, name: loads.append(name) or load_here(path, name))

    both(turn, turn)
    assert sorted(loads) == sorted(f"{number}.txt" for number in range(12))
    assert set(Document.objects.values_list("state", flat=True)) == {"embedding"}


def test_two_uploads_of_the_same_file_at_once(alice: User, collection: Collection, index: Index) -> None:
    both(lambda: put(alice, collection, "a.txt"), lambda: put(alice, collection, "b.txt"))
    assert Document.objects.count() == DocumentRevision.objects.count() == len(stored()) == 1


def test_deleted_while_it_is_parsed(alice: User, collection: Collection, index: Index) -> None:
    document = put(alice, collection)

    def load(path: Path, filename: str) -> LoadedText:
        loaded = load_here(path, filename)
        delete_document(alice, document)
        return loaded

    parsing.parse(document.pk, load)
    for rows in (Document, DocumentRevision, DocumentStage, Chunk, EmbeddingJob):
        assert not rows.objects.exists()
    assert stored() == []


def test_the_child_that_parses_is_killed(alice: User, collection: Collection, index: Index) -> None:
    bad, good = put(alice, collection), put(alice, collection, "good.txt", "Good words.")
    loader = IsolatedLoader(Limits())

    def load(path: Path, filename: str) -> LoadedText:
        loader.load(path, filename)  # has the zygote started
        if filename == "medlars.txt":
            assert loader.zygote_pid
            os.kill(loader.zygote_pid, signal.SIGSTOP)
            threading.Timer(0.2, os.kill, (loader.zygote_pid, signal.SIGKILL)).start()
        return loader.load(path, filename)

    try:
        parsing.parse_for(collection.pk, 60, load)
    finally:
        loader.close()
    for document in (bad, good):
        document.refresh_from_db()
    assert (bad.state, bad.error_code) == ("failed", "crashed")
    assert "stopped while it read" in bad.error
    assert good.state == "embedding"
    assert bad.stages.get(stage="parse").error == bad.error


def test_the_process_that_takes_an_upload_is_killed(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the file was stored and before its row was committed: the sweep removes what nobody holds."""
    held = put(alice, collection)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("kb.documents.actions.record_all", killed)
        with pytest.raises(SystemExit):
            put(alice, collection, "lost.txt", "Lost words.")
    assert Document.objects.get() == held
    assert len(stored()) == 2
    originals.sweep()
    assert len(stored()) == 2, "what is young may be about to be committed"
    for name in stored():
        os.utime(default_storage.path(name), (1, 1))
    originals.sweep()
    assert stored() == [held.incoming.file.name]
    work_off()
    held.refresh_from_db()
    assert held.state == "ready"


def test_a_directory_that_cannot_be_read_is_told_and_the_others_are_read(
    alice: User, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("Words.")
    scan = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(uploading.os, "scandir", refusing)
    tally = uploading.Tally()
    assert [path.parent.name for path in uploading.files([tmp_path], tally)] == ["open"]
    assert tally.refused == [
        (tmp_path / "closed", "unreadable", f"{tmp_path / 'closed'} cannot be read: Permission denied.")
    ]


def test_a_collection_that_goes_takes_uploads_and_stages_along(
    alice: User, collection: Collection, index: Index
) -> None:
    upload = open_upload(alice, collection, Upload.Origin.API)
    add_document(alice, collection, ContentFile(b"Words.", "a.txt"), upload=upload)
    work_off()
    collection.delete()
    for rows in (Upload, Document, DocumentStage):
        assert not rows.objects.exists()
