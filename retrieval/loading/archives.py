"""ZIP archives as the files in them, one at a time, whatever the archive says of itself.

Cheap and bounded by itself, so it runs in the process that asks: of the archive no more is held than
its directory and one file, and only the two methods are unpacked that take no memory of their own
(LZMA's and bzip2's do).
"""

import contextlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple, cast

from retrieval.loading.errors import LoadError
from retrieval.loading.sniff import office_kind
from retrieval.loading.text import one_line

ARCHIVES = frozenset({".zip"})

_PIECE = 64 * 1024
_DIRECTORY_BYTES = 600  # an entry's share of the directory: a long name, and what programs add to it
_KEPT_IN_MEMORY = 8 * 1024 * 1024  # of an archive within an archive
_RATIO_FROM = 1024 * 1024  # bytes: a smaller file may be as empty as it likes
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_LITTER = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})
_IS_ENCRYPTED = 0x1
_FAILURES = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    ValueError,
    KeyError,
    OverflowError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Bounds:
    """What an archive may hold, with all archives in it; `depth` 1 is an archive without others in it."""

    entries: int = 20_000
    entry_bytes: int = 200 * 1024 * 1024
    total_bytes: int = 4 * 1024 * 1024 * 1024
    ratio: int = 250  # of a file's size to its packed size
    depth: int = 3


class Entry(NamedTuple):
    """One file; `name` is a relative path with forward slashes and without "..", `inner.zip/a.txt` if nested."""

    name: str
    content: bytes


class Unfit(NamedTuple):
    """A file, or an archive in the archive, that cannot be unpacked, and why; the others can."""

    name: str
    reason: LoadError


class _Exhausted(LoadError):
    """The archive as a whole is larger than its bounds."""

    def __init__(self, message: str) -> None:
        super().__init__("too_large", message)


def unpack(path: Path, bounds: Bounds | None = None) -> Iterator[Entry | Unfit]:
    """The files of the archive at `path`, those of archives in it included.

    Folders, links and what operating systems leave behind are passed over; of two files of one name
    the later one counts, as when unpacking. Raises LoadError for what is no archive, and when the
    bounds of all files together are reached, which may be after many of them.
    """
    with path.open("rb") as file:
        yield from _Unpacking(bounds or Bounds()).entries(file, "", 1)


class _Unpacking:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._entries = 0
        self._bytes = 0

    def entries(self, file: IO[bytes], within: str, depth: int) -> Iterator[Entry | Unfit]:
        if depth > self._bounds.depth:
            raise LoadError(
                "too_large",
                f"Archives are nested more than {self._bounds.depth} deep, at {within.rstrip('/')}. "
                "Unpack the inner ones first.",
            )
        with _opened(file, self._bounds.entries * _DIRECTORY_BYTES) as archive:
            for name, info in self._wanted(archive, within).items():
                try:
                    self._check(info, name)
                    if PurePosixPath(name).suffix.lower() in ARCHIVES:
                        yield from self._nested(archive, info, name, depth)
                    else:
                        yield Entry(name, b"".join(self._pieces(archive, info, name)))
                except _Exhausted:
                    raise
                except LoadError as reason:
                    yield Unfit(name, reason)

    def _nested(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, depth: int
    ) -> Iterator[Entry | Unfit]:
        with SpooledTemporaryFile(max_size=_KEPT_IN_MEMORY) as inner:
            for piece in self._pieces(archive, info, name):
                inner.write(piece)
            inner.seek(0)
            yield from self.entries(cast("IO[bytes]", inner), name + "/", depth + 1)

    def _wanted(self, archive: zipfile.ZipFile, within: str) -> dict[str, zipfile.ZipInfo]:
        """The entries to read by their full names, if there are not too many."""
        infos = archive.infolist()
        self._entries += len(infos)
        if self._entries > self._bounds.entries:
            raise _Exhausted(
                f"The archive holds more than {self._bounds.entries:,} files. Split it into smaller ones."
            )
        kind = office_kind([info.filename for info in infos])
        if kind:
            raise LoadError("mismatch", f"The file is named .zip but is {kind}. Give it its right name.")
        wanted: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = _name(info)
            if name and not _is_passed_over(name, info):
                wanted.pop(within + name, None)
                wanted[within + name] = info
        if not wanted and not within:
            raise LoadError("empty", "There are no files in the archive.")
        return wanted

    def _check(self, info: zipfile.ZipInfo, name: str) -> None:
        """Raises LoadError for what the directory says not to be fit."""
        if _leads_out(_name(info)):
            raise LoadError("broken", f"{name} leads out of the folder that it is unpacked to. Pack it anew.")
        if info.flag_bits & _IS_ENCRYPTED:
            raise LoadError(
                "encrypted", f"{name} in the archive has a password. Pack it without one and try again."
            )
        if info.compress_type not in _METHODS:
            raise LoadError(
                "unsupported",
                f"{name} is packed by a method other than Deflate. Pack it anew as an ordinary ZIP archive.",
            )
        self._check_size(name, info.file_size, info.compress_size)

    def _check_size(self, name: str, size: int, packed: int) -> None:
        if size > self._bounds.entry_bytes:
            raise LoadError(
                "too_large", f"{name} in the archive is larger than {self._bounds.entry_bytes >> 20} MB."
            )
        if size > _RATIO_FROM and size > self._bounds.ratio * max(packed, 1):
            raise LoadError(
                "too_large",
                f"{name} unpacks to more than {self._bounds.ratio} times its size, "
                "as only files do that are made to fill disks. It was not unpacked.",
            )

    def _pieces(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
        """The content of one file, counted as it comes."""
        size = 0
        try:
            with archive.open(info) as source:
                while piece := source.read(_PIECE):
                    size += len(piece)
                    self._bytes += len(piece)
                    self._check_size(name, size, info.compress_size)
                    if self._bytes > self._bounds.total_bytes:
                        raise _Exhausted(
                            f"Unpacked, the archive is larger than {self._bounds.total_bytes >> 20} MB. "
                            "Split it into smaller ones.",
                        )
                    yield piece
        except _FAILURES as error:
            raise LoadError("broken", f"{name} in the archive is damaged. Pack it anew.") from error


class _Guarded(io.RawIOBase):
    """A file of which no more is read at once than `most`: the archive says how long its directory is."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._most = most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self._most + 1 if size < 0 else min(size, self._most + 1))
        if len(content) > self._most:
            raise LoadError("too_large", "The archive holds too many files. Split it into smaller ones.")
        return content


@contextlib.contextmanager
def _opened(file: IO[bytes], most: int) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(cast("IO[bytes]", _Guarded(file, max(most, _PIECE * 2))))
    except _FAILURES as error:
        raise LoadError(
            "broken", "The archive is damaged, incomplete or no ZIP archive. Pack it anew."
        ) from error
    with archive:
        yield archive


def _name(info: zipfile.ZipInfo) -> str:
    """The entry's path with forward slashes, on one line."""
    path = PurePosixPath(one_line(info.filename.replace("\\", "/")))
    return str(path) if path.parts else ""


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":"


def _is_passed_over(name: str, info: zipfile.ZipInfo) -> bool:
    return (
        info.is_dir()
        or stat.S_ISLNK(info.external_attr >> 16)
        or bool(_LITTER & {*PurePosixPath(name).parts})
    )
