"""EPUB to readable text: the chapters in the order of reading, under their headings."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from posixpath import dirname, join, normpath
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from retrieval.loading import html
from retrieval.loading.dates import from_iso, plausible
from retrieval.loading.errors import LoadError
from retrieval.loading.ooxml import FAILURES
from retrieval.loading.text import Block, assemble, one_line
from retrieval.spans import LoadedText

MEDIA_TYPE = "application/epub+zip"
_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_DC = "{http://purl.org/dc/elements/1.1/}"
_PAGES = frozenset({"application/xhtml+xml", "text/html", "application/xml", "text/x-oeb1-document"})
_OBFUSCATED = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # fonts only


def load(content: bytes) -> LoadedText:
    """The book's text; title, author and date from its package document."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _refuse_encrypted(archive)
            path, package = _package(archive)
            text, headings = assemble(_chapters(archive, path, package))
    except FAILURES as error:
        raise LoadError(
            "broken", "The e-book is damaged or incomplete. Download it again, or convert it anew."
        ) from error
    title = _said(package, "title") or (headings[0].title if headings else "")
    return LoadedText(
        text,
        title,
        MEDIA_TYPE,
        headings=headings,
        author=", ".join(
            filter(None, (one_line(entry.text or "") for entry in package.iter(f"{_DC}creator")))
        ),
        written_at=plausible(from_iso(_said(package, "date"))),
    )


def _refuse_encrypted(archive: zipfile.ZipFile) -> None:
    names = {*archive.namelist()}
    if _ENCRYPTION not in names:
        return
    methods = [
        entry.get("Algorithm", "")
        for entry in ElementTree.fromstring(archive.read(_ENCRYPTION)).iter()
        if entry.tag.endswith("}EncryptionMethod")
    ]
    if any(not method.startswith(_OBFUSCATED) for method in methods):
        raise LoadError(
            "encrypted", "The e-book is protected against copying. Choose one without protection."
        )


def _package(archive: zipfile.ZipFile) -> tuple[str, Element]:
    """The package document, which names all the others, and its path."""
    container = ElementTree.fromstring(archive.read(_CONTAINER))
    path = next((entry.get("full-path") or "" for entry in _all(container, "rootfile")), "")
    return path, ElementTree.fromstring(archive.read(path))


def _chapters(archive: zipfile.ZipFile, path: str, package: Element) -> Iterator[Block]:
    items = {entry.get("id"): entry for entry in _all(package, "item")}
    titles = _contents(archive, path, items)
    names = {*archive.namelist()}
    for reference in _all(package, "itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES or "nav" in (item.get("properties") or ""):
            continue
        name = _resolved(path, item.get("href") or "")
        if name in names:
            yield from _chapter(html.blocks_of_document(archive.read(name)), titles.get(name, ""))


def _chapter(blocks: list[Block], title: str) -> Iterator[Block]:
    """The chapter's blocks, headed as in the table of contents where it has no heading itself."""
    if title and blocks and not any(block.level for block in blocks):
        first = blocks[0]
        if one_line(first.text).casefold() == title.casefold():
            blocks = [replace(first, text=one_line(first.text), level=1), *blocks[1:]]
        else:
            yield Block(title, level=1)
    yield from blocks


def _contents(archive: zipfile.ZipFile, path: str, items: dict[str | None, Element]) -> dict[str, str]:
    """For each file the first title that the table of contents (of EPUB 3, or else 2) gives it."""
    titles: dict[str, str] = {}
    for item in items.values():
        is_nav = "nav" in (item.get("properties") or "").split()
        if not is_nav and item.get("media-type") != "application/x-dtbncx+xml":
            continue
        place = _resolved(path, item.get("href") or "")
        try:
            source = archive.read(place)
            found = html.links(source) if is_nav else _points(source)
        except (KeyError, SyntaxError):
            continue  # the book can be read without it
        for target, title in found:
            titles.setdefault(_resolved(place, target), one_line(title))
    return titles


def _points(source: bytes) -> Iterator[tuple[str, str]]:
    for point in _all(ElementTree.fromstring(source), "navPoint"):
        label = next((entry.text or "" for entry in _all(point, "text")), "")
        target = next((entry.get("src") or "" for entry in _all(point, "content")), "")
        yield target, label


def _all(root: Element, name: str) -> Iterator[Element]:
    """The elements of that name, in whatever namespace a program put them."""
    return (entry for entry in root.iter() if entry.tag == name or entry.tag.endswith("}" + name))


def _resolved(base: str, target: str) -> str:
    return normpath(join(dirname(base), unquote(target.partition("#")[0])))


def _said(package: Element, name: str) -> str:
    return next((one_line(entry.text or "") for entry in package.iter(_DC + name) if entry.text), "")
