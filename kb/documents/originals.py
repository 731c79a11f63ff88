"""The uploaded files as they came, stored by content: equal files take one place."""

import hashlib
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.utils import timezone

from kb.core.problems import not_stored
from kb.documents.models import ORIGINALS, DocumentRevision, original_path

logger = logging.getLogger(__name__)

YOUNG = timedelta(hours=1)


def sha256(file: File[bytes]) -> str:
    """The hash of the content, in hexadecimal."""
    digest = hashlib.sha256()
    for part in file.chunks():
        digest.update(part)
    file.seek(0)
    return digest.hexdigest()


def store(file: File[bytes], content_hash: str) -> str:
    """Puts the content into storage unless it is there; returns its name. Half a file never has that name.

    Raises Problem where the storage does not take it, such as a full disk.
    """
    name = original_path(content_hash)
    if default_storage.exists(name):
        return name
    part = f"{name}.{secrets.token_hex(8)}.part"
    file.seek(0)
    try:
        # A plain File is copied: an upload's own would be moved away, and could not be stored once more.
        publish(default_storage.save(part, File(file.file)), name)
    except OSError as error:
        logger.exception("An original could not be stored")
        default_storage.delete(part)
        raise not_stored(error) from error
    return name


def publish(written: str, name: str) -> None:
    """Gives a fully written file its name; on local disks by a rename."""
    try:
        source, target = default_storage.path(written), default_storage.path(name)
    except NotImplementedError:  # a remote storage: its writes are whole or absent
        with default_storage.open(written) as content:
            default_storage.save(name, content)
        default_storage.delete(written)
        return
    Path(source).replace(target)


@contextmanager
def locked(content_hash: str) -> Iterator[None]:
    """Inside a transaction: nobody else adds or removes this content until the commit."""
    lock([content_hash])
    yield


def lock(hashes: Sequence[str]) -> None:
    """As `locked`, for several contents; in their order, so that two never wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('original:' || content, 0)) "
            "FROM (SELECT unnest(%s::text[]) AS content ORDER BY 1) AS contents",
            [list(hashes)],
        )


def remove_unused(content_hash: str) -> bool:
    """Deletes the content if no revision holds it any more."""
    with transaction.atomic(), locked(content_hash):
        if DocumentRevision.objects.filter(sha256=content_hash).exists():
            return False
        default_storage.delete(original_path(content_hash))
        return True


def remove_unused_on_commit(hashes: set[str]) -> None:
    """Deletes those of the contents that no revision holds, once the transaction is committed."""
    transaction.on_commit(lambda: [remove_unused(content_hash) for content_hash in hashes])


def sweep_arriving() -> int:
    """Removes what a killed web process had received of uploads. Returns how many."""
    removed, arriving = 0, Path(settings.FILE_UPLOAD_TEMP_DIR)
    for path in arriving.iterdir() if arriving.is_dir() else ():
        with suppress(FileNotFoundError):  # its upload has ended since it was listed
            if time.time() - path.stat().st_mtime > YOUNG.total_seconds():
                path.unlink()
                removed += 1
    return removed


def stored() -> Iterator[str]:
    """The names of all originals, half-written ones included."""
    if not default_storage.exists(ORIGINALS):
        return
    for folder in default_storage.listdir(ORIGINALS)[0]:
        for name in default_storage.listdir(f"{ORIGINALS}/{folder}")[1]:
            yield f"{ORIGINALS}/{folder}/{name}"


def sweep() -> int:
    """Removes files that no revision holds: what a killed upload or deletion left. Returns how many."""
    removed = sweep_arriving()
    for name in stored():
        try:
            age = timezone.now() - default_storage.get_modified_time(name)
        except FileNotFoundError:
            continue  # got its final name, or was removed, since it was listed
        if age < YOUNG:
            continue
        folder, rest = name.split("/")[1:]
        if len(rest) == 62:
            removed += remove_unused(folder + rest)
        else:
            default_storage.delete(name)
            removed += 1
    return removed
