"""Tags: given with the file or later, by page, API, admin and command; kept in lower case; told to readers alone."""

import json
from io import StringIO

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.urls import reverse

from kb.core.models import AuditEntry
from kb.core.problems import Problem
from kb.documents.actions import add_document, add_or_replace_document, tag_document
from kb.documents.models import Document


@pytest.fixture
def document(alice, collection):
    return add_document(alice, collection, ContentFile(b"Bees.", "bees.txt"), tags=["Insects"]).document


def tags(document):
    return Document.objects.get(pk=document.pk).tags


def test_tags_are_lower_case_words_each_once(alice, document):
    assert tags(document) == ["insects"]
    tag_document(alice, document, ["Two  Words", "b", "B", "", " a/b.c "])
    assert tags(document) == ["a/b.c", "b", "two-words"]


@pytest.mark.parametrize("tag", ["a,b", 'a"b', "-", "a\0b", "x" * 51, "\u202eabc"])
def test_what_is_no_tag(alice, collection, document, tag):
    with pytest.raises(Problem, match="tag"):
        tag_document(alice, document, [tag])
    with pytest.raises(Problem, match="tag"):
        add_document(alice, collection, ContentFile(b"Other.", "other.txt"), tags=[tag])
    with pytest.raises(Problem, match="at most"):
        tag_document(alice, document, [f"t{number}" for number in range(51)])
    assert tags(document) == ["insects"]


def test_tagging_is_noted_once(alice, document):
    tag_document(alice, document, ["a"])
    tag_document(alice, document, ["a"])
    (entry,) = AuditEntry.objects.filter(verb="tag")
    assert (entry.actor, entry.detail) == (alice, {"before": ["insects"], "after": ["a"]})


def test_only_who_may_edit_tags(bob, charlie, document):
    for user, code in ((bob, "read_only"), (charlie, "not_found")):
        with pytest.raises(Problem) as refused:
            tag_document(user, document, ["a"])
        assert refused.value.code == code
    assert tags(document) == ["insects"]


def test_a_replacement_keeps_its_tags(alice, collection, document):
    replaced = add_or_replace_document(
        alice, collection, ContentFile(b"More bees.", "bees.txt"), tags=["new"]
    ).document
    assert (replaced.pk, tags(document)) == (document.pk, ["insects"])


def test_tags_in_the_api(as_user, alice, bob, document, problem):
    path = f"/api/v1/documents/{document.pk}"
    changed = as_user(alice).patch(path, json.dumps({"tags": ["B", "a"]}), content_type="application/json")
    assert (changed.status_code, changed.json()["tags"]) == (200, ["a", "b"])
    assert as_user(bob).get(path).json()["tags"] == ["a", "b"]
    same = as_user(alice).patch(path, "{}", content_type="application/json")
    assert same.json()["tags"] == ["a", "b"]
    for body in ({"tags": [","]}, {"title": "x"}, {"tags": "a"}):
        refused = as_user(alice).patch(path, json.dumps(body), content_type="application/json")
        problem(refused, 400 if body.get("tags") == [","] else 422)


def test_who_may_not_change_them_by_the_api(as_user, bob, charlie, document, problem):
    for user, status in ((bob, 403), (charlie, 404), (None, 401)):
        path, body = f"/api/v1/documents/{document.pk}", json.dumps({"tags": ["x"]})
        problem(as_user(user).patch(path, body, content_type="application/json"), status)
    assert tags(document) == ["insects"]


def test_files_are_tagged_as_they_are_put_in_by_the_api(as_user, alice, document):
    upload = "/api/v1/collections/papers/documents"
    answer = as_user(alice).post(f"{upload}?tag=A&tag=b", {"file": ContentFile(b"Wasps.", "wasps.txt")})
    assert answer.json()["items"][0]["document"]["tags"] == ["a", "b"]
    listed = as_user(alice).get("/api/v1/documents?tag=A").json()["items"]
    assert [item["filename"] for item in listed] == ["wasps.txt"]


def test_the_page_of_a_document_shows_and_changes_them(as_user, alice, bob, charlie, document):
    page, form = reverse("document", args=[document.pk]), reverse("document-tags", args=[document.pk])
    assert "?q=tag:insects" in as_user(bob).get(page).content.decode()
    assert "document-tags" not in as_user(bob).get(page).content.decode()
    assert form in as_user(alice).get(page).content.decode()
    assert as_user(alice).post(form, {"tags": "a, Big Bees"}, follow=True).status_code == 200
    assert tags(document) == ["a", "big-bees"]
    assert "is none." in as_user(alice).post(form, {"tags": "?"}, follow=True).content.decode()
    assert as_user(bob).post(form, {"tags": "x"}).status_code == 403
    assert as_user(charlie).post(form, {"tags": "x"}).status_code == 404
    assert as_user(alice).get(form).status_code == 405
    assert as_user(alice).post(form, {"tags": ""}).status_code == 302
    assert tags(document) == []


def test_the_upload_page_takes_them(as_user, alice, collection):
    files = [ContentFile(b"One.", "one.txt"), ContentFile(b"Two.", "two.txt")]
    as_user(alice).post(reverse("upload"), {"collection": "papers", "files": files, "tags": "a, B"})
    assert [document.tags for document in Document.objects.all()] == [["a", "b"]] * 2
    one = {"collection": "papers", "files": ContentFile(b"Three.", "three.txt")}
    json_reply = {"headers": {"Accept": "application/json"}}
    assert as_user(alice).post(reverse("upload"), one | {"tags": "c"}, **json_reply).status_code == 201
    assert Document.objects.get(filename="three.txt").tags == ["c"]
    assert as_user(alice).post(reverse("upload"), one | {"tags": "?"}, **json_reply).status_code == 400


def test_the_admin_shows_and_changes_them(as_user, admin, document):
    change = reverse("admin:documents_document_change", args=[document.pk])
    form = reverse("admin:documents_document_tags", args=[document.pk])
    assert form in as_user(admin).get(change).content.decode()
    assert "insects" in as_user(admin).get(form).content.decode()
    assert as_user(admin).post(form, {"tags": "?"}).status_code == 400
    assert as_user(admin).post(form, {"tags": "x, y"}).status_code == 302
    assert tags(document) == ["x", "y"]


def test_the_command_gives_them(alice, collection, tmp_path):
    (tmp_path / "a.txt").write_text("Ants.")
    call_command(
        "ingest",
        tmp_path,
        collection="papers",
        username="alice",
        tag=["Small", "red ants"],
        stdout=StringIO(),
    )
    assert Document.objects.get().tags == ["red-ants", "small"]
    with pytest.raises(CommandError, match="is none"):
        call_command("ingest", tmp_path, collection="papers", username="alice", tag=[","], stdout=StringIO())
