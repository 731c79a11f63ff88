"""Every error code has a title and a remedy, and failures are grouped by it."""

import re
from pathlib import Path

import pytest

from kb.core.models import Collection
from kb.documents.failures import CAUSES, OTHER, groups
from kb.documents.models import Document
from retrieval.loading.errors import CODES

ROOT = Path(__file__).parents[3]

CODE = re.compile(r"""(?:error_code="|\bfail\(\s*document,\s*")([a-z_]+)\"""")


def used() -> set[str]:
    """The codes that the sources give to failed documents."""
    sources = [
        path.read_text() for app in ("documents", "indexes") for path in (ROOT / "kb" / app).rglob("*.py")
    ]
    return (
        set(CODES)
        | {code for source in sources for code in CODE.findall(source)}
        | {"no_index", "not_stored"}
    )


def test_no_code_is_without_a_remedy() -> None:
    assert used() - set(CAUSES) == set()


def test_codes_are_found_where_they_are_used() -> None:
    assert {"crashed", "original_missing", "internal", "embedding"} <= used()


@pytest.mark.parametrize("code", sorted(CAUSES))
def test_a_remedy_is_a_sentence(code: str) -> None:
    cause = CAUSES[code]
    assert cause.title[0].isupper()
    assert not cause.title.endswith(".")
    assert cause.remedy[0].isupper()
    assert cause.remedy.endswith(".")


@pytest.mark.django_db
def test_groups(collection: Collection, django_assert_num_queries: object) -> None:
    for code, count in (("broken", 7), ("needs_ocr", 2), ("never_heard_of", 1)):
        for number in range(count):
            Document.objects.create(
                collection=collection,
                title=f"{code} {number}",
                filename="a.pdf",
                state="failed",
                error_code=code,
            )
    Document.objects.create(collection=collection, title="well", filename="a.pdf", state="ready")
    with django_assert_num_queries(2):
        found = groups(Document.objects.filter(collection=collection))
    assert [(group.code, group.count) for group in found] == [
        ("broken", 7),
        ("needs_ocr", 2),
        ("never_heard_of", 1),
    ]
    assert [document.title for document in found[0].sample] == [
        f"broken {number}" for number in (6, 5, 4, 3, 2)
    ]
    assert found[0].title == CAUSES["broken"].title
    assert found[2].remedy == OTHER.remedy
