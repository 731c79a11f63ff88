"""Files and directories on this machine, as a command puts them in: one after the other, however many."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from django.core.files import File
from django.db.models import Count, F

from kb.core.models import Collection, User
from kb.core.problems import Problem
from kb.documents import adding
from kb.documents.actions import ENDED_WITHOUT_SUCCESS, Added, open_upload
from kb.documents.models import Document, Upload

BATCH = 100
MOST_LISTED = 1000

TOGETHER = 64  # files

Put = Callable[[Sequence[File[bytes]], Upload], Sequence[Added | Problem]]


@dataclass
class Tally:
    """What became of the files, in numbers; of the refused ones as many as anybody reads are listed.

    Refusals are `(path, code, message)`.
    """

    put: int = 0
    known: int = 0
    skipped: int = 0
    refusals: int = 0
    refused: list[tuple[Path, str, str]] = field(default_factory=list)

    @property
    def seen(self) -> int:
        return self.put + self.known + self.refusals

    def refuse(self, path: Path, code: str, message: str) -> None:
        self.refusals += 1
        if len(self.refused) < MOST_LISTED:
            self.refused.append((path, code, message))

    def unreadable(self, path: Path, error: OSError) -> None:
        self.refuse(path, "unreadable", f"{path} cannot be read: {error.strerror}.")


def files(paths: Iterable[Path], tally: Tally) -> Iterator[Path]:
    """Named files as they are; of directories, the readable types below them without hidden ones.

    In the order in which the directories give them: none is held in memory.
    """
    for path in paths:
        if path.is_dir():
            yield from below(path, tally)
        else:
            yield path


def below(folder: Path, tally: Tally) -> Iterator[Path]:
    try:
        entries = os.scandir(folder)
    except OSError as error:
        tally.unreadable(folder, error)
        return
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from below(Path(entry.path), tally)
            elif entry.is_file():
                if adding.suffix_of(entry.name) in adding.READABLE:
                    yield Path(entry.path)
                else:
                    tally.skipped += 1


class Ingestion:
    """Puts files into a collection, as one upload.

    The upload is opened with the first file that is new, or goes on where one of the same name is still at
    work: so a command that was stopped is taken up again.
    """

    def __init__(self, actor: User, collection: Collection, name: str) -> None:
        self.actor = actor
        self.collection = collection
        self.name = name[-adding.NAME_LENGTH :]
        self.tally = Tally()
        self.upload = self._unfinished_upload()
        self._is_new = False

    def _unfinished_upload(self) -> Upload | None:
        same = Upload.objects.filter(
            collection=self.collection, created_by=self.actor, origin=Upload.Origin.COMMAND, name=self.name
        )
        newest = same.order_by("-created_at").first()
        return newest if newest and newest.documents.filter(state__in=Document.WORK).exists() else None

    def put_in(self, paths: Iterable[Path], put: Put, look_first: bool) -> Iterator[int]:
        """Puts the files in, and tells after each few how many of the upload's documents it added.

        With `look_first` files that the collection holds are passed over without being stored.
        """
        waiting = iter(paths)
        while batch := list(islice(waiting, BATCH)):
            known = self._known(batch) if look_first else set()
            before = self.tally.put
            self.tally.known += len(known)
            new = [path for path in batch if path not in known]
            for first in range(0, len(new), TOGETHER):
                self._put(new[first : first + TOGETHER], put)
            yield self.tally.put - before

    def _known(self, batch: list[Path]) -> set[Path]:
        """Those whose content the collection holds, and need nothing; in one query."""
        hashes = {path: digest for path in batch if (digest := hashed(path))}
        held = adding.holding(*set(hashes.values())).filter(collection=self.collection)
        found = held.exclude(state__in=ENDED_WITHOUT_SUCCESS).order_by()
        there = set(found.values_list(F("content_hash"), flat=True))
        return {path for path, digest in hashes.items() if digest in there}

    def _put(self, paths: Sequence[Path], put: Put) -> None:
        with ExitStack() as stack:
            files = {path: file for path in paths if (file := self._open(path, stack)) is not None}
            results = put(list(files.values()), self._opened()) if files else []
            for path, added in zip(files, results, strict=True):
                if isinstance(added, Problem):
                    self.tally.refuse(path, added.code, added.message)
                else:
                    self.tally.put += added.created
                    self.tally.known += not added.created

    def _open(self, path: Path, stack: ExitStack) -> File[bytes] | None:
        """The file, unless it cannot be read or is not worth storing, which is noted."""
        try:
            file = File(stack.enter_context(path.open("rb")), name=path.name)
            adding.checked_name(file, None)
        except Problem as problem:
            self.tally.refuse(path, problem.code, problem.message)
        except OSError as error:
            self.tally.unreadable(path, error)
        else:
            return file
        return None

    def _opened(self) -> Upload:
        if self.upload is None:
            self.upload = open_upload(self.actor, self.collection, Upload.Origin.COMMAND, self.name)
            self._is_new = True
        return self.upload

    def close(self) -> None:
        """Forgets an upload to which nothing came, since every file was known or refused."""
        if self.upload is not None and self._is_new and not self.upload.documents.exists():
            self.upload.delete()
            self.upload = None

    def at_work(self) -> int:
        """How many of the upload's documents are at work, without those that people have paused."""
        if self.upload is None:
            return 0
        return self.upload.documents.filter(state__in=Document.WORK, paused=False).count()

    def states(self) -> dict[str, int]:
        """How many of the upload's documents are in which state."""
        if self.upload is None:
            return {}
        found = self.upload.documents.order_by("state").values_list("state").annotate(Count("pk"))
        return {str(state): count for state, count in found}

    def failed(self) -> list[Document]:
        """Documents of the upload that failed, as many as anybody reads."""
        if self.upload is None:
            return []
        found = self.upload.documents.filter(state=Document.State.FAILED).order_by("filename", "pk")
        return list(found.only("filename", "error", "error_code")[:MOST_LISTED])


def hashed(path: Path) -> str:
    """The hash of the file's content; empty where it cannot be read, which is told when it is put in."""
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""
