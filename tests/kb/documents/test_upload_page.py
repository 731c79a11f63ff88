"""Where uploaded files go is chosen by the person, who sees whose collection it is and who reads it."""

import re
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from kb.core.models import Collection, Membership, User
from kb.documents.models import Document

pytestmark = pytest.mark.django_db(transaction=True)
NOTHING = ("", "Choose a collection…", True)


@pytest.fixture
def diary(bob: User, collection: Collection) -> Collection:
    """Bob's own, beside Alice's, to which he may add; it comes later in the alphabet."""
    Membership.objects.filter(user=bob).update(role="editor")
    return Collection.objects.create(name="Zoo diary", slug="zoo", owner=bob)


def options(page: str) -> list[tuple[str, str, bool]]:
    """Value, label and whether it is selected, of each option."""
    found = re.findall(r'<option value="([^"]*)"( selected)?>([^<]*)</option>', page)
    return [(value, unescape(label), bool(selected)) for value, selected, label in found]


def test_own_collections_come_first_and_nothing_is_chosen(as_user, bob: User, diary: Collection) -> None:
    shown = options(as_user(bob).get("/upload/").content.decode())
    assert shown == [
        NOTHING,
        ("zoo", "Zoo diary", False),
        ("papers", "Papers (owner: alice; readers: the owner and the members)", False),
    ]


def test_a_link_from_a_collection_chooses_it(as_user, bob: User, diary: Collection) -> None:
    page = as_user(bob).get("/library/papers/").content.decode()
    link = re.search(r'href="(/upload/[^"]+)"', page)
    assert link
    shown = options(as_user(bob).get(link[1]).content.decode())
    assert [value for value, _, selected in shown if selected] == ["papers"]


def test_the_only_collection_needs_no_choice(as_user, alice: User, collection: Collection) -> None:
    shown = options(as_user(alice).get("/upload/").content.decode())
    assert [label for _, label, _ in shown] == ["Papers"]


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_files_without_a_collection_are_refused(as_user, bob: User, diary: Collection, accept: str) -> None:
    form = {"collection": "", "files": SimpleUploadedFile("a.txt", b"Words.")}
    response = as_user(bob).post("/upload/", form, headers={"Accept": accept})
    assert response.status_code == 400
    assert "Choose the collection that the files go into." in response.content.decode()
    assert not Document.objects.exists()
