"""Uploads, stages, failures and originals through the API, and steering them; each refused to whom it must be."""

from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile

from kb.core.models import Collection, Membership
from kb.documents import parsing
from kb.documents.actions import add_document, open_upload, replace_document
from kb.documents.models import Document, Upload
from tests.conftest import ingest, load_here, work_off

API = "/api/v1"
FILES = f"{API}/collections/papers/documents"


def file(name, content="Words."):
    return SimpleUploadedFile(name, content.encode())


@pytest.fixture
def upload(alice, collection, index):
    """Three documents: one ready, one failed, one queued."""
    made = open_upload(alice, collection, Upload.Origin.API, "Insects")
    for name, content in (("bees.md", b"Bees dance."), ("empty.txt", b"  \n")):
        add_document(alice, collection, ContentFile(content, name), upload=made)
        work_off()
    add_document(alice, collection, ContentFile(b"Wasps.", "wasps.txt"), upload=made)
    return made


@pytest.fixture
def queued(upload):
    return upload.documents.get(filename="wasps.txt")


def test_an_upload_with_its_counts(as_user, alice, upload):
    shown = as_user(alice).get(f"{API}/uploads/{upload.pk}").json()
    assert (shown["name"], shown["origin"], shown["collection"]) == ("Insects", "api", "papers")
    assert (shown["documents"], shown["finished"], shown["paused"]) == (3, 2, 0)
    assert shown["states"] == {"ready": 1, "failed": 1, "queued": 1}
    assert as_user(alice).get(f"{API}/uploads").json()["items"] == [shown]


def test_uploads_are_listed_by_collection_and_cursor(
    as_user, alice, collection, upload, django_assert_max_num_queries
):
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    newer = [open_upload(alice, other, Upload.Origin.API) for _ in range(2)]
    client = as_user(alice)
    with django_assert_max_num_queries(6):
        first = client.get(f"{API}/uploads", {"limit": 2}).json()
    assert [item["id"] for item in first["items"]] == [str(made.pk) for made in reversed(newer)]
    rest = client.get(f"{API}/uploads", {"cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in rest["items"]] == [str(upload.pk)]
    only = client.get(f"{API}/uploads", {"collection": "papers"}).json()
    assert [item["id"] for item in only["items"]] == [str(upload.pk)]


def test_an_upload_is_opened_and_files_go_into_it(as_user, alice, collection):
    client = as_user(alice)
    response = client.post(
        f"{API}/collections/papers/uploads", {"name": "Mine"}, content_type="application/json"
    )
    assert response.status_code == 201
    made = response.json()
    assert (made["name"], made["documents"]) == ("Mine", 0)
    answer = client.post(f"{FILES}?upload={made['id']}", {"file": file("a.txt")}).json()
    assert answer["upload"] == answer["items"][0]["document"]["upload"] == made["id"]


def test_several_files_make_an_upload_and_one_makes_none(as_user, alice, collection):
    client = as_user(alice)
    several = client.post(FILES, {"files": [file("a.txt", "one"), file("b.txt", "two")]}).json()
    assert Upload.objects.get().documents.count() == 2
    assert several["upload"] == str(Upload.objects.get().pk)
    assert client.post(FILES, {"file": file("c.txt", "three")}).json()["upload"] is None


def test_an_upload_of_another_collection_is_not_found(as_user, alice, collection, problem):
    other = Collection.objects.create(name="Other", slug="other", owner=alice)
    upload = open_upload(alice, other, Upload.Origin.API)
    problem(as_user(alice).post(f"{FILES}?upload={upload.pk}", {"file": file("a.txt")}), 404, "not_found")


def test_stages(as_user, alice, upload, queued):
    ready = upload.documents.get(filename="bees.md")
    items = as_user(alice).get(f"{API}/documents/{ready.pk}/stages").json()["items"]
    assert {item["stage"]: item["state"] for item in items}.items() >= {
        "parse": "done",
        "chunk": "done",
    }.items()
    assert "reused" not in items[0]
    assert as_user(alice).get(f"{API}/documents/{queued.pk}/stages").json() == {"items": []}
    failed = upload.documents.get(filename="empty.txt")
    (stage,) = as_user(alice).get(f"{API}/documents/{failed.pk}/stages").json()["items"]
    assert (stage["state"], stage["error"]) == ("failed", failed.error)


def test_failures_are_grouped(as_user, alice, collection, upload):
    Document.objects.create(
        collection=collection, title="x", filename="x.pdf", state="failed", error_code="broken"
    )
    client = as_user(alice)
    everything = client.get(f"{API}/failures").json()["items"]
    assert [(group["code"], group["count"]) for group in everything] == [("broken", 1), ("empty", 1)]
    (group,) = client.get(f"{API}/failures", {"upload": upload.pk}).json()["items"]
    assert group["remedy"]
    assert [document["filename"] for document in group["sample"]] == ["empty.txt"]
    assert len(client.get(f"{API}/failures", {"collection": "papers"}).json()["items"]) == 2


@pytest.mark.parametrize("query", [{"collection": "papers"}, {"upload": "the upload"}])
def test_failures_of_what_may_not_be_known(as_user, charlie, upload, problem, query):
    problem(
        as_user(charlie).get(
            f"{API}/failures", {key: upload.pk if key == "upload" else v for key, v in query.items()}
        ),
        404,
    )
    assert as_user(charlie).get(f"{API}/failures").json() == {"items": []}


def test_the_original_comes_back_as_a_file(as_user, alice, collection, index, problem):
    document = ingest(alice, collection, "page.html", "<script>alert(1)</script><p>Words.</p>")
    path = f"{API}/documents/{document.pk}/original"
    response = as_user(alice).get(path)
    assert response.getvalue() == b"<script>alert(1)</script><p>Words.</p>"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="page.html"'
    assert response["X-Content-Type-Options"] == "nosniff"
    replace_document(alice, document, ContentFile(b"New.", "page.txt"))
    assert as_user(alice).get(path).getvalue().startswith(b"<script>")
    assert as_user(alice).get(path, {"revision": 2}).getvalue() == b"New."
    problem(as_user(alice).get(path, {"revision": 3}), 404)
    default_storage.delete(document.current.file.name)
    problem(as_user(alice).get(path), 404, "original_missing")


def test_an_entry_of_an_archive_downloads_under_its_own_name(as_user, alice, collection):
    document = add_document(alice, collection, ContentFile(b"Words.", "a.txt")).document
    document.revisions.update(filename="below/a\r\nb.txt")
    response = as_user(alice).get(f"{API}/documents/{document.pk}/original")
    assert response.getvalue() == b"Words."
    assert "below" not in response["Content-Disposition"]
    assert "\n" not in response["Content-Disposition"]


@pytest.mark.parametrize(
    ("kind", "action", "states"),
    [
        ("documents", "cancel", "cancelled failed ready"),
        ("uploads", "cancel", "cancelled failed ready"),
        ("uploads", "retry", "queued queued ready"),
        ("uploads", "reparse", "failed queued queued"),
        ("collections", "cancel", "cancelled failed ready"),
        ("collections", "retry", "queued queued ready"),
        ("collections", "reparse", "failed queued queued"),
    ],
)
def test_steering(as_user, alice, upload, queued, kind, action, states):
    response = as_user(alice).post(f"{API}/{kind}/{target(kind, upload, queued)}/{action}")
    assert response.status_code == 202, response.content
    if kind != "documents":
        assert response.json() == {"documents": 1}
    assert sorted(Document.objects.values_list("state", flat=True)) == states.split()


@pytest.mark.parametrize("kind", ["uploads", "collections"])
def test_one_cause_alone_is_retried(as_user, alice, upload, queued, kind):
    path = f"{API}/{kind}/{target(kind, upload, queued)}/retry"
    assert as_user(alice).post(f"{path}?cause=timeout").json() == {"documents": 0}
    assert as_user(alice).post(f"{path}?cause=empty").json() == {"documents": 1}


def test_what_is_parsed_again_answers_until_then_and_embeds_nothing(as_user, alice, upload):
    ready = upload.documents.get(filename="bees.md")
    chunks = set(ready.chunks.values_list("pk", flat=True))
    as_user(alice).post(f"{API}/uploads/{upload.pk}/reparse")
    ready.refresh_from_db()
    assert (ready.current.number, ready.incoming.number) == (1, 2)
    assert ready.incoming.sha256 == ready.current.sha256
    assert set(ready.chunks.values_list("pk", flat=True)) == chunks
    work_off()
    ready.refresh_from_db()
    assert (ready.state, ready.current.number, ready.incoming) == ("ready", 2, None)
    assert set(ready.chunks.values_list("pk", flat=True)) == chunks


def test_in_a_paused_collection_what_is_parsed_again_waits(as_user, alice, upload):
    client = as_user(alice)
    client.post(f"{API}/collections/papers/pause")
    assert client.post(f"{API}/collections/papers/reparse").json() == {"documents": 1}
    assert set(upload.documents.filter(state="queued").values_list("paused", flat=True)) == {True}


def target(kind, upload, document):
    return {"documents": document.pk, "uploads": upload.pk, "collections": "papers"}[kind]


@pytest.mark.parametrize("kind", ["documents", "uploads", "collections"])
def test_pausing_and_resuming(as_user, alice, upload, queued, kind):
    client, path = as_user(alice), f"{API}/{kind}/{target(kind, upload, queued)}"
    assert client.post(f"{path}/pause").status_code == 202
    assert client.get(f"{API}/documents/{queued.pk}").json()["paused"] is True
    assert client.get(f"{API}/uploads/{upload.pk}").json()["paused"] == 1
    assert client.post(f"{path}/resume").status_code == 202
    assert client.get(f"{API}/documents/{queued.pk}").json()["paused"] is False


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "retry"])
def test_what_there_is_nothing_to_do_for(as_user, alice, upload, problem, action):
    ready = upload.documents.get(filename="bees.md")
    problem(as_user(alice).post(f"{API}/documents/{ready.pk}/{action}"), 409)


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "retry", "reparse"])
@pytest.mark.parametrize("kind", ["documents", "uploads", "collections"])
def test_who_may_not_steer(as_user, bob, charlie, upload, queued, problem, kind, action):
    statuses = {}
    for user in (bob, charlie, None):
        response = as_user(user).post(f"{API}/{kind}/{target(kind, upload, queued)}/{action}")
        statuses[user] = problem(response, response.status_code)["status"]
    assert statuses == {bob: 403, charlie: 404, None: 401}
    queued.refresh_from_db()
    assert (queued.state, queued.paused) == ("queued", False)


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "retry", "reparse"])
@pytest.mark.parametrize("kind", ["documents", "uploads", "collections"])
def test_a_key_that_reads_does_not_steer(client, alice, upload, queued, key, problem, kind, action):
    response = client.post(
        f"{API}/{kind}/{target(kind, upload, queued)}/{action}", headers=key(alice, "read")
    )
    problem(response, 403, "missing_scope")


def test_who_may_not_open_an_upload(as_user, bob, charlie, collection, problem):
    path, json = f"{API}/collections/papers/uploads", {"content_type": "application/json"}
    for user, status in ((bob, 403), (charlie, 404), (None, 401)):
        problem(as_user(user).post(path, {}, **json), status)
    Membership.objects.update(role="editor")
    assert as_user(bob).post(path, {}, **json).status_code == 201


@pytest.mark.parametrize(
    "path", ["uploads/{upload}", "documents/{document}/stages", "documents/{document}/original"]
)
def test_who_may_read(as_user, alice, bob, charlie, upload, queued, problem, path):
    path = f"{API}/{path.format(upload=upload.pk, document=queued.pk)}"
    for user in (alice, bob):
        response = as_user(user).get(path)
        assert response.status_code == 200
        assert response.getvalue()
    for user in (charlie, None):
        problem(as_user(user).get(path), 404, "not_found")
    unknown = path.replace(str(upload.pk), str(uuid4())).replace(str(queued.pk), str(uuid4()))
    assert as_user(charlie).get(path).json() == as_user(charlie).get(unknown).json()


def test_the_list_of_uploads_holds_what_may_be_known(as_user, bob, charlie, upload):
    assert len(as_user(bob).get(f"{API}/uploads").json()["items"]) == 1
    assert as_user(charlie).get(f"{API}/uploads").json() == as_user().get(f"{API}/uploads").json()
    assert as_user(charlie).get(f"{API}/uploads").json()["items"] == []


def test_invariant_4_a_link_is_shown_to_who_may_see_both(as_user, alice, bob, collection, index):
    private = Collection.objects.create(name="Private", slug="private", owner=alice)
    first = ingest(alice, private, "secret.txt", "Words.")
    second = add_document(alice, collection, ContentFile(b"Words.", "open.txt")).document
    assert second.same_as == first
    path = f"{API}/documents/{second.pk}"
    assert as_user(alice).get(path).json()["same_as"] == str(first.pk)
    assert as_user(bob).get(path).json()["same_as"] is None
    (listed,) = as_user(bob).get(f"{API}/documents").json()["items"]
    assert listed["same_as"] is None


def test_invariant_4_no_stage_tells_that_somebody_had_the_file(as_user, alice, charlie, collection, index):
    private = Collection.objects.create(name="Private", slug="private", owner=charlie)
    ingest(charlie, private, "secret.txt", "Words.")
    document = add_document(alice, collection, ContentFile(b"Words.", "open.txt")).document
    parsing.parse(document.pk, load_here)
    assert document.stages.get(stage="parse").reused == 1
    items = as_user(alice).get(f"{API}/documents/{document.pk}/stages").json()["items"]
    (parse,) = [item for item in items if item["stage"] == "parse"]
    assert set(parse) == {"stage", "state", "attempt", "done", "total", "error", "heartbeat_at"}
