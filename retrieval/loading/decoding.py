"""Bytes to text, in whatever encoding they are: shared by all the text formats."""

import codecs
import re

import charset_normalizer

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""")
# The encodings met in practice; a wider choice makes the guess on a short text worse.
_CANDIDATES = [
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
    "cp1251",
    "cp1252",
    "cp1250",
    "cp1253",
    "cp1255",
    "cp1256",
]
_SAMPLE = 32_768
_LONE_HIGH = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
_HIGH = re.compile(rb"[\x80-\xff]")


def utf16_without_bom(content: bytes) -> str | None:
    """The byte order, if the NUL bytes stand as in UTF-16 text of a European language."""
    sample = content[:4096]
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if half < 2 or max(even, odd) < 0.4 * half or min(even, odd) > 0.05 * half:
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    controls = sum(
        character < " " and not character.isspace() for character in sample.decode(encoding, "replace")
    )
    return encoding if controls <= 0.02 * half else None


def decode(content: bytes, *, declares: bool = False) -> str:
    """`content` as text; never fails: what fits no encoding becomes U+FFFD.

    `declares` is for formats that name their encoding near the start (HTML's `charset=`, XML's
    `encoding=`). Valid UTF-8 wins over the declaration: saved pages often keep a stale one.
    """
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return content.decode(encoding, errors="replace")
    if encoding16 := utf16_without_bom(content):
        return content.decode(encoding16, errors="replace")
    if b"\x1b$" in content or b"\x1b(" in content:  # ISO-2022-JP is valid UTF-8, and means something else
        text = _strictly(content, "iso2022_jp")
        if text is not None:
            return text
    encodings = ["utf-8"]
    if declares and (match := _DECLARED.search(content[:2048])):
        encodings.append(match[1].decode("ascii"))
    for encoding in encodings:
        text = _strictly(content, encoding)
        if text is not None:
            return text
    return content.decode(_guess(content), errors="replace")


def _strictly(content: bytes, encoding: str) -> str | None:
    try:
        if not codecs.lookup(encoding)._is_text_encoding:
            return None
        return content.decode(encoding)
    except (LookupError, ValueError):  # an unknown name, or bytes that are not in it
        return None


def _guess(content: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8 and declare nothing."""
    high = len(_HIGH.findall(content[:_SAMPLE]))
    lone = len(_LONE_HIGH.findall(content[:_SAMPLE]))
    # Letters with accents stand alone among ASCII ones; other scripts come in runs.
    if lone >= 0.7 * high:
        return "cp1252"
    sample = content[: content.find(b"\n", _SAMPLE)] if len(content) > _SAMPLE else content
    best = charset_normalizer.from_bytes(sample, cp_isolation=_CANDIDATES).best()
    return best.encoding if best else "cp1252"
