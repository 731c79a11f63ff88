"""Documents through the API: put in, list, read, replace, take up again, delete, and every refusal."""

from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from kb.core.models import Collection, Membership
from kb.core.pagination import encode
from kb.documents.models import Document
from tests.conftest import ingest, work_off

DOCUMENTS = "/api/v1/documents"
UPLOAD = "/api/v1/collections/papers/documents"
TEXT = "# Bees\n\nThe waggle dance tells the direction.\n"


def file(name="bees.md", content=TEXT):
    return SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content)


def multipart(**parts):
    return {"data": encode_multipart(BOUNDARY, parts), "content_type": MULTIPART_CONTENT}


@pytest.fixture
def document(alice, collection, index):
    return ingest(alice, collection, "bees.md", TEXT)


def titles(response):
    return [item["title"] for item in response.json()["items"]]


def test_upload_one(as_user, alice, collection, index):
    response = as_user(alice).post(UPLOAD, {"file": file()})
    assert response.status_code == 202
    (item,) = response.json()["items"]
    assert (item["filename"], item["created"], item["problem"]) == ("bees.md", True, None)
    assert (item["document"]["state"], item["document"]["collection"]) == ("queued", "papers")
    work_off()
    done = as_user(alice).get(f"{DOCUMENTS}/{item['document']['id']}").json()
    assert (done["state"], done["revision"], done["progress"]["fraction"]) == ("ready", 1, 1.0)
    assert done["progress"]["done"] == done["progress"]["total"] == 1


def test_upload_with_a_key(client, alice, collection, key):
    assert client.post(UPLOAD, {"file": file()}, headers=key(alice, "write")).status_code == 202


def test_the_same_file_again_is_no_second_document(as_user, alice, document):
    (item,) = as_user(alice).post(UPLOAD, {"file": file()}).json()["items"]
    assert (item["created"], item["document"]["id"]) == (False, str(document.pk))


def test_upload_several_each_with_its_own_result(as_user, alice, collection):
    files = [file("a.md"), file("b.exe"), file("c.txt", b"")]
    response = as_user(alice).post(UPLOAD, {"files": files})
    assert response.status_code == 202
    results = [
        (item["filename"], item["problem"] and item["problem"]["code"]) for item in response.json()["items"]
    ]
    assert results == [("a.md", None), ("b.exe", "unsupported"), ("c.txt", "empty")]
    assert Document.objects.count() == 1


def test_upload_several_of_which_none_is_taken(as_user, alice, collection, problem):
    response = as_user(alice).post(UPLOAD, {"files": [file("a.exe"), file("b.exe")]})
    assert len(problem(response, 422, "none_taken")["items"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("virus.exe", b"MZ", 415, "unsupported"),
        ("without-a-type", b"x", 415, "unsupported"),
        ("empty.pdf", b"", 400, "empty"),
        ("large.txt", b"x" * 2_000_000, 413, "too_large"),
    ],
)
def test_a_file_that_is_not_taken(as_user, alice, collection, problem, settings, name, content, status, code):
    settings.MAX_UPLOAD_BYTES = 1024 * 1024
    response = as_user(alice).post(UPLOAD, {"file": file(name, content)})
    problem(response, status, code)
    assert not Document.objects.exists()


def test_the_queue_of_a_collection_has_an_end(as_user, alice, charlie, collection, index, problem, settings):
    settings.MOST_WAITING = 2
    client = as_user(alice)
    for name in ("a.txt", "b.txt"):
        assert client.post(UPLOAD, {"file": file(name, name.encode())}).status_code == 202
    refused = client.post(UPLOAD, {"file": file("c.txt", b"c")})
    assert "2 documents of this collection wait already" in problem(refused, 429, "busy")["detail"]
    assert refused["Retry-After"] == "30"
    problem(as_user(charlie).post(UPLOAD, {"file": file("c.txt", b"c")}), 404)
    work_off()
    assert client.post(UPLOAD, {"file": file("c.txt", b"c")}).status_code == 202


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("broken.pdf", b"%PDF-1.7 nothing", "broken"), ("really.pdf", b"<html>", "mismatch")],
)
def test_a_file_that_cannot_be_read_says_why(as_user, alice, collection, index, name, content, code):
    document = ingest(alice, collection, name, content)
    shown = as_user(alice).get(f"{DOCUMENTS}/{document.pk}").json()
    assert (shown["state"], shown["error"]["code"]) == ("failed", code)
    assert shown["error"]["message"]


def test_a_form_without_a_file(as_user, alice, collection, problem):
    problem(as_user(alice).post(UPLOAD, {}), 422, "no_file")
    both = {"file": file("bees.md", "Bees."), "tag": "insects"}
    said = problem(as_user(alice).post(UPLOAD, both), 422, "unknown_field")
    assert "?tag=" in said["detail"]
    assert not Document.objects.exists()


def test_an_upload_that_is_no_form(as_user, alice, collection, problem):
    problem(as_user(alice).post(UPLOAD, {"file": "x"}, content_type="application/json"), 415, "not_a_form")


def test_a_form_that_is_broken(as_user, alice, collection, problem):
    broken = {"data": b"--x\r\nnothing", "content_type": "multipart/form-data"}
    problem(as_user(alice).post(UPLOAD, **broken), 400, "bad_request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", UPLOAD),
        ("PUT", DOCUMENTS + "/{pk}"),
        ("POST", DOCUMENTS + "/{pk}/retry"),
        ("POST", DOCUMENTS + "/{pk}/reparse"),
        ("DELETE", DOCUMENTS + "/{pk}"),
    ],
)
def test_who_may_not_write(as_user, bob, charlie, document, problem, method, path):
    statuses = {}
    for user in (bob, charlie, None):
        response = as_user(user).generic(
            method, path.format(pk=document.pk), **multipart(file=file("other.md"))
        )
        statuses[user] = problem(response, response.status_code)["status"]
    assert statuses == {bob: 403, charlie: 404, None: 401}
    document.refresh_from_db()
    assert (document.state, document.revisions.count(), Document.objects.count()) == ("ready", 1, 1)


def test_an_editor_may_write(as_user, bob, collection):
    Membership.objects.update(role="editor")
    assert as_user(bob).post(UPLOAD, {"file": file()}).status_code == 202


@pytest.mark.parametrize("path", ["", "/text"])
def test_who_may_read(as_user, alice, bob, charlie, document, problem, path):
    statuses = {
        user: as_user(user).get(f"{DOCUMENTS}/{document.pk}{path}").status_code for user in (alice, bob)
    }
    assert statuses == {alice: 200, bob: 200}
    for user in (charlie, None):
        problem(as_user(user).get(f"{DOCUMENTS}/{document.pk}{path}"), 404, "not_found")


def test_what_is_not_there_and_what_may_not_be_known_look_alike(as_user, charlie, document):
    unknown, hidden = (as_user(charlie).get(f"{DOCUMENTS}/{pk}").json() for pk in (uuid4(), document.pk))
    assert unknown == hidden


def test_the_lists_hold_what_may_be_known(as_user, alice, bob, charlie, document):
    for path in (DOCUMENTS, UPLOAD):
        assert titles(as_user(alice).get(path)) == titles(as_user(bob).get(path)) == [document.title]
    assert as_user(charlie).get(DOCUMENTS).json() == as_user().get(DOCUMENTS).json()
    assert titles(as_user(charlie).get(DOCUMENTS)) == []
    assert as_user(charlie).get(UPLOAD).status_code == 404


def test_nobody_reads_what_is_public(as_user, document):
    Collection.objects.update(visibility="public")
    assert titles(as_user().get(DOCUMENTS)) == [document.title]
    assert as_user().get(f"{DOCUMENTS}/{document.pk}/text").status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "failed"}, ["c"]),
        ({"q": "A"}, ["a"]),
        ({"q": ".md"}, ["c", "b", "a"]),
        ({"q": "%"}, []),
        ({"state": "queued", "q": "c"}, []),
    ],
)
def test_filters(as_user, alice, collection, query, found):
    for title in ("a", "b", "c"):
        state = "failed" if title == "c" else "queued"
        Document.objects.create(collection=collection, title=title, filename=f"{title}.md", state=state)
    assert titles(as_user(alice).get(DOCUMENTS, query)) == found


@pytest.mark.parametrize("query", [{"state": "lost"}, {"q": "x" * 201}, {"limit": 1000}])
def test_filters_that_are_none(as_user, alice, problem, query):
    problem(as_user(alice).get(DOCUMENTS, query), 422)


def test_the_cursor_walks_the_list_while_documents_come_and_go(as_user, alice, collection):
    made = [
        Document.objects.create(collection=collection, title=str(n), filename=f"{n}.md") for n in range(6)
    ]
    Document.objects.update(created_at=made[0].created_at)
    client, order = as_user(alice), [str(row.pk) for row in Document.objects.order_by("-created_at", "id")]
    first = client.get(DOCUMENTS, {"limit": 2}).json()
    Document.objects.create(collection=collection, title="new", filename="new.md")
    Document.objects.filter(pk=first["items"][1]["id"]).delete()
    rest = client.get(DOCUMENTS, {"limit": 4, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in [*first["items"], *rest["items"]]] == order
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_a_cursor_with_a_time_that_no_database_has_is_refused(as_user, alice, collection, problem, year):
    cursor = encode([f"{year}-12-31T23:59:59+00:00", uuid4()])
    problem(as_user(alice).get(DOCUMENTS, {"cursor": cursor}), 400, "invalid_cursor")
    assert as_user(alice).get(f"/library/{collection.slug}/", {"cursor": cursor}).status_code == 404


def test_a_cursor_of_another_list_is_refused(as_user, alice, collection, problem):
    Collection.objects.create(name="Other", slug="other", owner=alice)
    cursor = as_user(alice).get("/api/v1/collections", {"limit": 1}).json()["next_cursor"]
    problem(as_user(alice).get(DOCUMENTS, {"cursor": cursor}), 400, "invalid_cursor")


def test_the_text_with_its_spans(as_user, bob, document):
    body = as_user(bob).get(f"{DOCUMENTS}/{document.pk}/text").json()
    assert body["revision"] == 1
    assert "waggle dance" in body["text"]
    (heading,) = body["headings"]
    assert "Bees" in body["text"][heading["start"] : heading["end"]]


def test_the_text_of_a_revision(as_user, alice, document, problem):
    response = as_user(alice).put(
        f"{DOCUMENTS}/{document.pk}", **multipart(file=file("bees.md", "New words."))
    )
    assert response.status_code == 202
    text = f"{DOCUMENTS}/{document.pk}/text"
    assert "waggle" in as_user(alice).get(text).json()["text"]
    problem(as_user(alice).get(text, {"revision": 2}), 409, "not_parsed")
    work_off()
    assert as_user(alice).get(text).json()["text"].strip() == "New words."
    assert "waggle" in as_user(alice).get(text, {"revision": 1}).json()["text"]
    problem(as_user(alice).get(text, {"revision": 3}), 404)
    problem(as_user(alice).get(text, {"revision": 2**40}), 422)


def test_a_document_that_is_not_parsed_has_no_text(as_user, alice, collection, problem):
    as_user(alice).post(UPLOAD, {"file": file()})
    problem(as_user(alice).get(f"{DOCUMENTS}/{Document.objects.get().pk}/text"), 409, "not_parsed")


def test_replacing_by_a_file_that_is_not_taken_changes_nothing(as_user, alice, document, problem):
    problem(as_user(alice).put(f"{DOCUMENTS}/{document.pk}", **multipart(file=file("x.exe"))), 415)
    two = multipart(one=file("a.md"), two=file("b.md"))
    problem(as_user(alice).put(f"{DOCUMENTS}/{document.pk}", **two), 422, "several_files")
    assert document.revisions.count() == 1


def test_retry_is_for_failed_documents(as_user, alice, document, problem):
    path = f"{DOCUMENTS}/{document.pk}/retry"
    problem(as_user(alice).post(path), 409, "not_failed")
    Document.objects.update(state="failed", error="Broken", error_code="broken")
    assert as_user(alice).post(path).json()["state"] == "queued"


def test_reparse_makes_a_new_revision(as_user, alice, document):
    assert as_user(alice).post(f"{DOCUMENTS}/{document.pk}/reparse").status_code == 202
    work_off()
    assert as_user(alice).get(f"{DOCUMENTS}/{document.pk}").json()["revision"] == 2


@pytest.mark.django_db(transaction=True)
def test_delete(as_user, alice, document, problem):
    assert as_user(alice).delete(f"{DOCUMENTS}/{document.pk}").status_code == 204
    problem(as_user(alice).get(f"{DOCUMENTS}/{document.pk}"), 404)
    assert as_user(alice).get("/api/v1/search", {"q": "waggle dance"}).json()["passages"] == []


def test_listing_reads_no_texts(as_user, alice, document, django_assert_max_num_queries):
    client = as_user(alice)
    with django_assert_max_num_queries(6) as captured:
        client.get(DOCUMENTS)
    assert not any('"documents_documentrevision"."text"' in query["sql"] for query in captured)
