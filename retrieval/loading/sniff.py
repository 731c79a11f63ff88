"""What the bytes really are, whatever the file's name says."""

import io
import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from retrieval.loading.decoding import utf16_without_bom
from retrieval.loading.errors import LoadError

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"RIFF", "a picture, sound or video file"),
    (b"OggS", "a sound or video file"),
    (b"ID3", "a sound file"),
    (b"fLaC", "a sound file"),
    (b"\x1aE\xdf\xa3", "a video file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\x00asm", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "a database"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript file"),
)
# What these begin with is also how a text may begin, so the rest must look binary, too.
_ALSO_TEXT = frozenset({b"MZ", b"BZh", b"ID3", b"RIFF", b"8BPS", b"OggS", b"fLaC"})
_ZIPPED = (
    ("word/", "a Word document"),
    ("xl/", "an Excel workbook"),
    ("ppt/", "a PowerPoint presentation"),
    ("META-INF/container.xml", "an e-book"),
    ("content.xml", "an OpenDocument file"),
)
_MARKS = frozenset({"[Content_Types].xml", "META-INF/container.xml", "content.xml"})


class _Packed(NamedTuple):
    """A format that is a ZIP archive: what `kind_of` calls it, its name, its program, its forerunner."""

    kind: str
    name: str
    program: str = ""
    old: str = ""


_PACKED = {
    ".docx": _Packed("a Word document", "Word document", "Word", ".doc"),
    ".xlsx": _Packed("an Excel workbook", "Excel workbook", "Excel", ".xls"),
    ".pptx": _Packed("a PowerPoint presentation", "PowerPoint presentation", "PowerPoint", ".ppt"),
    ".epub": _Packed("an e-book", "e-book"),
}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_PDF_HEADER_WITHIN = 1024  # readers accept junk before the header up to here
MAX_UNZIPPED = 512 * 1024 * 1024


def kind_of(content: bytes) -> str | None:
    """What the first bytes say the file is, in words; None when they say nothing (a text, mostly)."""
    for magic, kind in _MAGIC:
        if content.startswith(magic) and not (magic in _ALSO_TEXT and not is_binary(content)):
            return _zipped(content) if kind == "a ZIP archive" else kind
    if content[4:8] == b"ftyp" and is_binary(content):
        return "a video or picture file"
    return None


def is_binary(content: bytes) -> bool:
    """Whether the bytes are no text: NULs that UTF-16 and UTF-32 do not explain, or many controls."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")) or utf16_without_bom(content):
        return False
    sample = content[:65_536]
    return b"\x00" in sample or len(_CONTROL.findall(sample)) > 0.02 * len(sample)


def check(content: bytes, suffix: str) -> None:
    """Raise LoadError unless `content` can be what `suffix` says it is."""
    if not content.strip(b"\x00 \t\r\n\f\v\xef\xbb\xbf"):
        raise LoadError("empty", "The file is empty. Choose a file that has text in it.")
    kind = kind_of(content)
    if suffix == ".pdf":
        _check_pdf(content, kind)
    elif suffix in _PACKED:
        _check_packed(content, suffix, kind)
    elif kind:
        _mismatch(suffix, kind)
    elif is_binary(content):
        _mismatch(suffix, "a binary file")


def _check_pdf(content: bytes, kind: str | None) -> None:
    if b"%PDF-" in content[:_PDF_HEADER_WITHIN]:
        return
    if kind or not is_binary(content):
        _mismatch(".pdf", kind or "a text file")
    raise LoadError("broken", "The PDF is damaged: it does not begin like one. Save or download it again.")


def _check_packed(content: bytes, suffix: str, kind: str | None) -> None:
    wanted = _PACKED[suffix]
    if kind == wanted.kind:
        return
    if kind == "an old Microsoft Office file" and suffix != ".epub":
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise LoadError(
                "encrypted", f"The {wanted.name} has a password. Save it without one and try again."
            )
        raise LoadError(
            "mismatch",
            f"This is an old {wanted.program} file ({wanted.old}) named {suffix}. "
            f"Open it in {wanted.program} and save it as {suffix}.",
        )
    if kind == "a damaged ZIP archive":
        raise LoadError("broken", f"The {wanted.name} is damaged or incomplete. Save or download it again.")
    _mismatch(suffix, kind or ("a binary file" if is_binary(content) else "a text file"))


def _zipped(content: bytes) -> str:
    """What a ZIP archive holds, in words."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return "a damaged ZIP archive"
    if sum(entry.file_size for entry in entries) > MAX_UNZIPPED:
        raise LoadError(
            "too_large",
            f"Unpacked, the file is larger than {MAX_UNZIPPED >> 20} MB. Split it into smaller files.",
        )
    return _kind_by_names([entry.filename for entry in entries]) or "a ZIP archive"


def office_kind(names: Sequence[str]) -> str | None:
    """The kind of document that a ZIP archive of these names is; None if it just holds files."""
    return _kind_by_names(names) if _MARKS & {*names} else None


def _kind_by_names(names: Sequence[str]) -> str | None:
    return next((kind for start, kind in _ZIPPED if any(name.startswith(start) for name in names)), None)


def _mismatch(suffix: str, kind: str) -> NoReturn:
    raise LoadError(
        "mismatch",
        f"The file is named {suffix} but is {kind}. Give it its right name, or choose another file.",
    )
