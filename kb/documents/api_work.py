"""Work to be watched and steered: uploads, stages, failures; pause, resume, cancel, retry, re-parse; originals."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.http import FileResponse
from ninja import Query, Router, Status

from kb.core.api import visible_collection
from kb.core.authentication import READ, WRITE, Request, account
from kb.core.models import Reader
from kb.core.pagination import paginate
from kb.core.problems import not_found
from kb.documents import actions, failures
from kb.documents.api import DOCUMENT, Number, visible_document
from kb.documents.downloads import download
from kb.documents.failures import FailureGroup
from kb.documents.models import Document, DocumentStage, Upload
from kb.documents.schemas import (
    Counted,
    DocumentOut,
    FailureScope,
    FailuresOut,
    OpenedIn,
    OpenedListing,
    OpenedOut,
    OpenedPageOut,
    Retried,
    StagesOut,
    SteeredOut,
)

router = Router(tags=["Work"])

UPLOAD = "/uploads/{uuid:upload_id}"
COLLECTION = "/collections/{slug}"
STEERED = {202: SteeredOut}
Steer = Callable[..., int]


def visible_upload(reader: Reader, upload_id: UUID) -> Upload:
    """The upload, if this reader may know of it. Raises Problem otherwise."""
    found = Upload.objects.visible_to(reader).select_related("collection").filter(pk=upload_id).first()
    if found is None:
        raise not_found("upload")
    return found


def counted(uploads: Iterable[Upload]) -> list[Counted]:
    """Uploads with how many of their documents are in which state, in one query."""
    listed = list(uploads)
    found = Document.objects.filter(upload__in=listed).order_by().values_list("upload", "state", "paused")
    states: dict[UUID, Counter[str]] = {upload.pk: Counter() for upload in listed}
    waiting: Counter[UUID] = Counter()
    for upload_id, state, paused, count in found.annotate(Count("pk")):
        states[upload_id][state] += count
        waiting[upload_id] += count if paused else 0
    return [
        {"upload": upload, "states": states[upload.pk], "paused": waiting[upload.pk]} for upload in listed
    ]


@router.get("/uploads", auth=READ, response=OpenedPageOut, operation_id="list_uploads")
def list_uploads(request: Request, which: Query[OpenedListing]) -> dict[str, Any]:
    """The uploads of the collections that you may see, newest first."""
    uploads = Upload.objects.visible_to(request.auth).select_related("collection")
    if which.collection:
        uploads = uploads.filter(collection=visible_collection(request.auth, which.collection))
    page = paginate(uploads, ["-created_at", "id"], which.cursor, which.limit)
    return {"items": counted(page.items), "next_cursor": page.next_cursor}


@router.post(COLLECTION + "/uploads", auth=WRITE, response={201: OpenedOut}, operation_id="open_upload")
def open_upload(request: Request, slug: str, body: OpenedIn) -> Status[Counted]:
    """Opens an upload: documents that are put in with its id are watched, paused and cancelled together."""
    collection = visible_collection(request.auth, slug)
    upload = actions.open_upload(account(request), collection, Upload.Origin.API, body.name)
    return Status(201, counted([upload])[0])


@router.get(UPLOAD, auth=READ, response=OpenedOut, operation_id="get_upload")
def get_upload(request: Request, upload_id: UUID) -> Counted:
    """One upload, and how far its documents are."""
    return counted([visible_upload(request.auth, upload_id)])[0]


@router.get(DOCUMENT + "/stages", auth=READ, response=StagesOut, operation_id="list_stages")
def list_stages(request: Request, document_id: UUID) -> dict[str, QuerySet[DocumentStage]]:
    """What was done with the document, stage by stage: the newest attempt of each."""
    document = visible_document(request.auth, document_id)
    return {"items": document.stages.order_by("started_at", "pk")}


@router.get(DOCUMENT + "/original", auth=READ, response=None, operation_id="download_original")
def download_original(request: Request, document_id: UUID, revision: Number = None) -> FileResponse:
    """The file as it was put in: of the revision that is searched, or else the newest, or another one."""
    document = visible_document(request.auth, document_id)
    which = Q(number=revision) if revision else Q(pk=document.current_id or document.incoming_id)
    found = document.revisions.defer("text", "pages", "headings").filter(which).first()
    if found is None:
        raise not_found("revision")
    return download(found)


@router.get("/failures", auth=READ, response=FailuresOut, operation_id="list_failures")
def list_failures(request: Request, within: Query[FailureScope]) -> dict[str, list[FailureGroup]]:
    """Failed documents by cause, with what can be done: all that you may see, of a collection or an upload."""
    documents = Document.objects.visible_to(request.auth)
    if within.collection:
        documents = documents.filter(collection=visible_collection(request.auth, within.collection))
    if within.upload:
        documents = documents.filter(upload=visible_upload(request.auth, within.upload))
    return {"items": failures.groups(documents)}


def steer_document(request: Request, document_id: UUID, action: Steer) -> Status[Document]:
    action(account(request), visible_document(request.auth, document_id))
    return Status(202, visible_document(request.auth, document_id))


def steer_upload(request: Request, upload_id: UUID, action: Steer) -> Status[dict[str, int]]:
    return Status(202, {"documents": action(account(request), visible_upload(request.auth, upload_id))})


def steer_collection(request: Request, slug: str, action: Steer) -> Status[dict[str, int]]:
    return Status(202, {"documents": action(account(request), visible_collection(request.auth, slug))})


@router.post(DOCUMENT + "/pause", auth=WRITE, response={202: DocumentOut}, operation_id="pause_document")
def pause_document(request: Request, document_id: UUID) -> Status[Document]:
    """Lets the work on a document wait, with those that an archive held."""
    return steer_document(request, document_id, actions.pause)


@router.post(DOCUMENT + "/resume", auth=WRITE, response={202: DocumentOut}, operation_id="resume_document")
def resume_document(request: Request, document_id: UUID) -> Status[Document]:
    """Lets a paused document go on."""
    return steer_document(request, document_id, actions.resume)


@router.post(DOCUMENT + "/cancel", auth=WRITE, response={202: DocumentOut}, operation_id="cancel_document")
def cancel_document(request: Request, document_id: UUID) -> Status[Document]:
    """Ends the work on a document. Its file is kept: retry takes it up again."""
    return steer_document(request, document_id, actions.cancel)


@router.post(UPLOAD + "/pause", auth=WRITE, response=STEERED, operation_id="pause_upload")
def pause_upload(request: Request, upload_id: UUID) -> Status[dict[str, int]]:
    """Lets the work on an upload wait, on what is put into it later, too."""
    return steer_upload(request, upload_id, actions.pause)


@router.post(UPLOAD + "/resume", auth=WRITE, response=STEERED, operation_id="resume_upload")
def resume_upload(request: Request, upload_id: UUID) -> Status[dict[str, int]]:
    """Lets a paused upload go on."""
    return steer_upload(request, upload_id, actions.resume)


@router.post(UPLOAD + "/cancel", auth=WRITE, response=STEERED, operation_id="cancel_upload")
def cancel_upload(request: Request, upload_id: UUID) -> Status[dict[str, int]]:
    """Ends the work that is not done; what is ready stays."""
    return steer_upload(request, upload_id, actions.cancel)


@router.post(UPLOAD + "/retry", auth=WRITE, response=STEERED, operation_id="retry_upload")
def retry_upload(request: Request, upload_id: UUID, which: Query[Retried]) -> Status[dict[str, int]]:
    """Takes up again whatever of an upload failed or was cancelled; with `cause` what failed for it alone."""
    return steer_upload(request, upload_id, partial(actions.retry_failed, cause=which.cause))


@router.post(UPLOAD + "/reparse", auth=WRITE, response=STEERED, operation_id="reparse_upload")
def reparse_upload(request: Request, upload_id: UUID) -> Status[dict[str, int]]:
    """Reads the stored files of all that is ready once more. The texts from before are searched until then."""
    return steer_upload(request, upload_id, actions.reparse)


@router.post(COLLECTION + "/pause", auth=WRITE, response=STEERED, operation_id="pause_collection")
def pause_collection(request: Request, slug: str) -> Status[dict[str, int]]:
    """Lets all work on a collection wait, on what is put in later, too."""
    return steer_collection(request, slug, actions.pause)


@router.post(COLLECTION + "/resume", auth=WRITE, response=STEERED, operation_id="resume_collection")
def resume_collection(request: Request, slug: str) -> Status[dict[str, int]]:
    """Lets a paused collection go on."""
    return steer_collection(request, slug, actions.resume)


@router.post(COLLECTION + "/cancel", auth=WRITE, response=STEERED, operation_id="cancel_collection")
def cancel_collection(request: Request, slug: str) -> Status[dict[str, int]]:
    """Ends all work on a collection that is not done; what is ready stays."""
    return steer_collection(request, slug, actions.cancel)


@router.post(COLLECTION + "/retry", auth=WRITE, response=STEERED, operation_id="retry_collection")
def retry_collection(request: Request, slug: str, which: Query[Retried]) -> Status[dict[str, int]]:
    """Takes up again whatever of a collection failed or was cancelled; with `cause` what failed for it alone."""
    return steer_collection(request, slug, partial(actions.retry_failed, cause=which.cause))


@router.post(COLLECTION + "/reparse", auth=WRITE, response=STEERED, operation_id="reparse_collection")
def reparse_collection(request: Request, slug: str) -> Status[dict[str, int]]:
    """Reads the stored files of all that is ready once more. The texts from before are searched until then."""
    return steer_collection(request, slug, actions.reparse)
