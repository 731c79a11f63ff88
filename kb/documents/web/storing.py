"""A fetched page becomes its document, or the newest revision of it; what did not change costs nothing."""

import hashlib
import re
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.db import transaction

from kb.core.auditing import record
from kb.documents import adding, originals, stages
from kb.documents.adding import Given
from kb.documents.models import Document, Source, WebPage
from kb.documents.sources import end_page
from kb.documents.web.addresses import WebAddress
from kb.documents.web.media import in_utf8, page_suffix
from kb.documents.web.outcomes import Fetched

MOST_NAME = 120
DELETED = "Its document was deleted, so it is not asked for any more."


def filename(found: WebAddress, suffix: str) -> str:
    """Host and path as a file's name: what a page is called stands in its text, where it is from does not."""
    path, _, query = found.target.partition("?")
    stem = path.removesuffix(suffix).strip("/")
    readable = re.sub(r"([^\w.]|-)+", "-", "-".join(filter(None, [found.host, stem, query]))).strip("-.")
    if len(readable) > MOST_NAME:
        readable = f"{readable[:MOST_NAME]}-{hashlib.sha256(str(found).encode()).hexdigest()[:8]}"
    return readable + suffix


def file_of(found: Fetched) -> ContentFile[bytes]:
    """The page as a file that the loaders read. Raises Problem for what cannot be stored."""
    suffix = page_suffix(found.media_type, found.address.path) or ".html"  # the fetcher took nothing else
    body = in_utf8(found.body, found.media_type, found.charset)
    name = filename(found.address, suffix)
    adding.check_size(name, len(body))
    return ContentFile(body, name)


def store(
    page: WebPage, file: ContentFile[bytes], content_hash: str, fields: dict[str, Any]
) -> Document | None:
    """Writes document, revision and the page's `fields` at once, if the claim still holds.

    Returns the document that is queued by it, or None. Raises Problem where it cannot be stored.
    """
    originals.store(file, content_hash)
    with transaction.atomic(), originals.locked(content_hash):
        paused = adding.hold_collection(page.source.collection_id, page.source.upload_id)
        # The document before the page: whoever deletes it takes them in this order, too.
        document = locked_document(page.document_id)
        if not WebPage.objects.select_for_update().filter(pk=page.pk, next_at=page.next_at).exists():
            return None
        if document is None and page.document_id is not None:
            end_page(page, next_at=None, error=DELETED)  # while the page was on its way
            return None
        if document is None and (twin := same_content(page, content_hash)):
            end_page(page, **fields, same_as=twin)
            return None
        document = queued(page.source, document, file, content_hash, paused=paused)
        stages.begin(document.pk, stages.Stage.FETCH, total=file.size, content_hash=content_hash)
        stages.finish(document.pk, stages.Stage.FETCH)
        record(None, "fetch", document, url=page.url)
        end_page(page, **fields, document=document, same_as=None)
    return document


def locked_document(document_id: UUID | None) -> Document | None:
    """The row, inside a transaction; footnotes may refer to it meanwhile."""
    return (
        Document.objects.select_for_update(no_key=True).filter(pk=document_id).first()
        if document_id
        else None
    )


def same_content(page: WebPage, content_hash: str) -> WebPage | None:
    """Another page of the source with this very content: a page with two addresses is one document.

    Also if a person deleted its document: that was meant for the page under all its addresses.
    """
    others = WebPage.objects.filter(source=page.source_id, sha256=content_hash, same_as=None)
    return others.exclude(pk=page.pk).order_by("pk").first()


def queued(
    source: Source, document: Document | None, file: ContentFile[bytes], content_hash: str, *, paused: bool
) -> Document:
    """A new document, or a new revision of the one there is, which serves on until that is parsed."""
    given, actor = Given(file.name or "", content_hash, file), source.created_by
    if document is None:
        same = adding.same_files(actor, source.collection, [content_hash]).get(content_hash)
        document = adding.new_document(actor, source.collection, given, upload=source.upload, same_as=same)
    adding.queue_all(actor, [(document, given)], paused=paused or document.paused)
    return document


def remove(document_id: UUID, url: str) -> None:
    """Deletes the document of a page that is gone, inside a transaction."""
    document = Document.objects.filter(pk=document_id).first()
    if document is None:
        return
    hashes = set(document.revisions.values_list("sha256", flat=True))
    record(None, "delete", document, filename=document.filename, vanished=url)
    document.delete()
    originals.remove_unused_on_commit(hashes)
