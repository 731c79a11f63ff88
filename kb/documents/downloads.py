"""Gives an original back as it came: as a file to be saved, never as a page to be shown."""

from pathlib import PurePath

from django.http import FileResponse

from kb.core.problems import Problem
from kb.documents.models import DocumentRevision


def download(revision: DocumentRevision) -> FileResponse:
    """The revision's original under its own name. Raises Problem if it is missing."""
    try:
        content = revision.file.open("rb")
    except FileNotFoundError as error:
        raise Problem(
            "original_missing", "The stored file is missing: put it in again to replace it.", 404
        ) from error
    # What strangers put in is not what this site says: no browser may take it for a page or a script.
    return FileResponse(
        content,
        as_attachment=True,
        filename=PurePath(revision.filename).name,
        content_type="application/octet-stream",
    )
