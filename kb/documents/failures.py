"""Why documents failed, grouped by cause, each with what can be done about it."""

from dataclasses import dataclass

from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber

from kb.documents.models import Document

SAMPLE = 5


@dataclass(frozen=True)
class Cause:
    """What an error code means: a title, and what a person can do."""

    title: str
    remedy: str


@dataclass(frozen=True)
class FailureGroup:
    """`count` documents failed for the same cause; `sample` are the newest few of them."""

    code: str
    title: str
    remedy: str
    count: int
    sample: tuple[Document, ...]


CAUSES: dict[str, Cause] = {
    "broken": Cause(
        "The file is damaged or incomplete",
        "Save it anew in the program that made it, or download it again, and replace the document.",
    ),
    "crashed": Cause(
        "The reader broke down on the file",
        "Retry once. If it fails again, save the file anew, or in another format, and replace the document.",
    ),
    "embedding": Cause(
        "The text could not be embedded",
        "Look into the log of the embed worker: most often the model or its endpoint was away. "
        "Then retry; what was embedded is kept.",
    ),
    "empty": Cause(
        "There is no text in the file",
        "Nothing is to be done if it really is empty; else replace it by a version that has its text in it.",
    ),
    "encrypted": Cause(
        "The file has a password",
        "Save it without the password, and replace the document.",
    ),
    "internal": Cause(
        "An error of the program itself",
        "The log of the parse worker holds it: report it with the file, if you may. Then retry.",
    ),
    "memory": Cause(
        "Reading took too much memory",
        "Split the file, or raise PARSE_MEMORY_MB, restart, and retry.",
    ),
    "mismatch": Cause(
        "The file is not what its name says",
        "Give it the ending of its real type, and put it in again.",
    ),
    "needs_ocr": Cause(
        "The pages are pictures, without any text",
        "Install the optional text recognition (the extra `ocr`), restart, and retry; "
        "or run the file through a text recognition of your own.",
    ),
    "no_index": Cause(
        "There is no index to put it into",
        "Run `manage.py prepare`, then retry.",
    ),
    "not_stored": Cause(
        "The server could not store the file",
        "Most often its disk is full: make room, then retry.",
    ),
    "original_missing": Cause(
        "The stored file is missing",
        "Put the file in again. If many are missing, the folder of originals was moved or emptied: restore it.",
    ),
    "timeout": Cause(
        "Reading took too long",
        "Split the file, or raise PARSE_SECONDS, restart, and retry.",
    ),
    "too_large": Cause(
        "The file, or the text in it, is too large",
        "Split it into smaller files, or raise PARSE_MAX_CHARACTERS, restart, and retry.",
    ),
    "unsupported": Cause(
        "Nothing here reads files of this type",
        "Save the file in one of the types that are read, and put it in again.",
    ),
}
OTHER = Cause(
    "Another cause", "The documents say what happened: retry, and look into the logs if it fails again."
)


def groups(documents: QuerySet[Document]) -> list[FailureGroup]:
    """The failed ones of `documents` by cause, the most frequent first; in two queries."""
    failed = documents.filter(state=Document.State.FAILED)
    counts = failed.order_by().values_list("error_code").annotate(count=Count("pk"))
    place = Window(
        RowNumber(), partition_by=F("error_code"), order_by=[F("updated_at").desc(), F("pk").asc()]
    )
    newest = failed.select_related("collection").annotate(place=place).filter(place__lte=SAMPLE)
    samples: dict[str, list[Document]] = {}
    for document in newest.order_by("place"):
        samples.setdefault(document.error_code, []).append(document)
    return [
        group(code, count, samples.get(code, []))
        for code, count in sorted(counts, key=lambda found: (-found[1], found[0]))
    ]


def group(code: str, count: int, sample: list[Document]) -> FailureGroup:
    cause = CAUSES.get(code, OTHER)
    return FailureGroup(code, cause.title, cause.remedy, count, tuple(sample))
