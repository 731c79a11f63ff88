"""Originals: one place for equal files, whole or absent, and gone when nobody holds them."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.test import Client

from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents import originals
from kb.documents.actions import add_document
from kb.documents.models import Document

CONTENT = b"words " * 1000


@pytest.fixture
def uploaded() -> Iterator[TemporaryUploadedFile]:
    """An upload that Django keeps in a file of its own, as it does with large ones."""
    with TemporaryUploadedFile("a.txt", "text/plain", len(CONTENT), None) as file:
        file.write(CONTENT)
        file.seek(0)
        yield file


def kept() -> list[Path]:
    return [path for path in Path(default_storage.location).rglob("*") if path.is_file()]


def test_a_large_upload_can_be_stored_once_more(uploaded: TemporaryUploadedFile) -> None:
    """As when the last document with this content is deleted between the upload's two looks."""
    content_hash = originals.sha256(uploaded)
    for _ in range(2):
        name = originals.store(uploaded, content_hash)
        with default_storage.open(name) as stored:
            assert stored.read() == CONTENT
        default_storage.delete(name)


def test_a_full_disk_is_told_and_leaves_no_half_file(
    alice: User, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(storage: FileSystemStorage, name: str, content: object) -> str:
        path = Path(storage.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"hal")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FileSystemStorage, "_save", fill)
    with pytest.raises(Problem, match="No space left on device") as refused:
        add_document(alice, collection, ContentFile(CONTENT, "a.txt"))
    assert (refused.value.code, refused.value.status) == ("not_stored", 507)
    assert kept() == []
    assert not Document.objects.exists()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for what arrives, where Django keeps it first."""

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TemporaryFileUploadHandler, "new_file", fill)


@pytest.mark.parametrize("path", ["/upload/", "/api/v1/collections/papers/documents"])
def test_a_full_disk_is_told_when_the_form_arrives(
    path: str, alice: User, collection: Collection, full: None, settings: object
) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 100
    client = Client(enforce_csrf_checks=False, raise_request_exception=False)
    client.force_login(alice)
    answer = client.post(path, {"files": ContentFile(CONTENT, "a.txt"), "collection": collection.pk})
    assert answer.status_code == 507
    assert "No space left on device" in answer.content.decode()
    if path.startswith("/api/"):
        assert answer.json()["code"] == "not_stored"


@pytest.mark.django_db
def test_the_sweep_removes_what_is_old_and_held_by_nobody(
    alice: User, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = add_document(alice, collection, ContentFile(CONTENT, "a.txt")).document.incoming.file.name
    for content in (b"left by a killed deletion", b"young"):
        originals.store(ContentFile(content), originals.sha256(ContentFile(content)))
    half = default_storage.save(f"{held}.0123.part", ContentFile(b"half"))
    young = originals.original_path(originals.sha256(ContentFile(b"young")))
    for path in kept():
        if default_storage.path(young) != str(path):
            os.utime(path, (1, 1))
    vanished = originals.original_path("0" * 64)
    names = [vanished, *originals.stored()]
    monkeypatch.setattr(originals, "stored", lambda: iter(names))
    assert originals.sweep() == 2
    assert {str(path) for path in kept()} == {default_storage.path(name) for name in (held, young)}
    assert not default_storage.exists(half)


def test_the_sweep_removes_what_killed_uploads_left(tmp_path: Path, settings, db: None) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()
    left, arriving = (settings.FILE_UPLOAD_TEMP_DIR / name for name in ("left.upload", "arriving.upload"))
    for path in (left, arriving):
        path.write_bytes(b"half a file")
    os.utime(left, (0, 0))
    assert originals.sweep() == 1
    assert (left.exists(), arriving.exists()) == (False, True)
