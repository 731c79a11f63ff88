"""Documents in the admin: put in, retried, re-parsed, replaced and deleted by the same actions as elsewhere."""

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from kb.core.models import AuditEntry, Collection, Membership
from kb.documents.actions import add_document, open_upload
from kb.documents.models import Document, Upload
from tests.conftest import ingest, work_off

ADD, LIST = reverse("admin:documents_document_add"), reverse("admin:documents_document_changelist")


def file(name="bees.md", content=b"# Bees\n\nThey dance.\n"):
    return SimpleUploadedFile(name, content)


def of(document, name):
    return reverse(f"admin:documents_document_{name}", args=[document.pk])


@pytest.fixture
def document(alice, collection, index):
    return ingest(alice, collection, "bees.md", "# Bees\n\nThey dance.\n")


@pytest.fixture
def curator(bob):
    """A member of the collection who is staff with every right that can be given."""
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.all())
    return bob


def said(client, response):
    return [str(message) for message in client.get(response.url).context["messages"]]


def test_upload_each_with_its_own_result(as_user, admin, collection):
    client = as_user(admin)
    response = client.post(
        ADD, {"collection": collection.pk, "uploads": [file(), file("x.exe"), file("e.txt", b"")]}
    )
    words = said(client, response)
    assert words[0] == "bees.md is queued."
    assert "cannot be read" in words[1]
    assert "empty" in words[2]
    assert Document.objects.get().created_by == admin


def test_an_upload_of_nothing_that_can_be_taken_stays_on_the_page(as_user, admin, collection):
    page = as_user(admin).post(ADD, {"collection": collection.pk, "uploads": [file("x.exe")]})
    assert "cannot be read" in page.content.decode()
    assert as_user(admin).post(ADD, {"collection": collection.pk}).status_code == 400


def test_where_too_much_waits_nothing_is_added(as_user, admin, collection, settings):
    settings.MOST_WAITING = 1
    add_document(admin, collection, file("first.md"))
    page = as_user(admin).post(ADD, {"collection": collection.pk, "uploads": [file()]})
    assert "wait already" in page.content.decode()
    assert Document.objects.count() == 1


def test_a_curator_adds_only_where_they_may(as_user, curator, collection):
    assert as_user(curator).post(ADD, {"collection": collection.pk, "uploads": [file()]}).status_code == 400
    Membership.objects.update(role="editor")
    assert as_user(curator).post(ADD, {"collection": collection.pk, "uploads": [file()]}).status_code == 302


def test_a_document_at_work_shows_its_progress_and_one_that_failed_its_error(as_user, admin, document):
    Document.objects.update(state="failed", error_code="broken", error="The file is broken.")
    page = as_user(admin).get(of(document, "change")).content.decode()
    assert "The file is broken." in page
    assert "1 of 1 passages" in page
    assert of(document, "retry") in page
    assert "The file is broken." in as_user(admin).get(LIST).content.decode()


def test_retry_and_reparse_of_one(as_user, admin, document):
    client = as_user(admin)
    assert client.get(of(document, "retry")).status_code == 405
    response = client.post(of(document, "retry"))
    assert "Only a failed or cancelled document" in said(client, response)[0]
    client.post(of(document, "reparse"))
    document.refresh_from_db()
    assert (document.state, document.revisions.count()) == ("queued", 2)


def test_retry_of_several_names_those_that_refuse(as_user, admin, alice, collection, document):
    failed = ingest(alice, collection, "broken.pdf", b"%PDF-1.7 nothing")
    client = as_user(admin)
    body = {"action": "retry", "_selected_action": [document.pk, failed.pk]}
    words = said(client, client.post(LIST, body))
    assert any(
        word.startswith("bees: Only a failed") or word.startswith("Bees: Only a failed") for word in words
    )
    assert "Taken up again: 1." in words
    failed.refresh_from_db()
    assert failed.state == "queued"


def test_replace(as_user, admin, document):
    page = as_user(admin).post(of(document, "replace"), {"file": file("x.exe")})
    assert page.status_code == 400
    assert "cannot be read" in page.content.decode()
    assert as_user(admin).post(of(document, "replace"), {"file": file("new.md")}).status_code == 302
    document.refresh_from_db()
    assert document.incoming.filename == "new.md"


def test_delete_one_and_several_by_the_action(as_user, admin, alice, collection, document):
    other = ingest(alice, collection, "other.md", "Other words.")
    page = as_user(admin).get(of(document, "delete")).content.decode()
    assert "with its text and all that was made of it" in page
    as_user(admin).post(of(document, "delete"), {"post": "yes"})
    body = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
    as_user(admin).post(LIST, body)
    assert not Document.objects.exists()
    assert AuditEntry.objects.filter(verb="delete").count() == 2


@pytest.mark.parametrize("name", ["retry", "reparse", "replace", "delete"])
def test_a_reader_who_is_staff_changes_nothing(as_user, curator, document, name):
    client = as_user(curator)
    assert client.get(of(document, "change")).status_code == 200
    assert client.post(of(document, name), {"post": "yes", "file": file("new.md")}).status_code == 403
    document.refresh_from_db()
    assert (document.state, document.revisions.count()) == ("ready", 1)


def test_a_reader_who_is_staff_deletes_none_of_several(as_user, curator, document):
    body = {"action": "delete_selected", "_selected_action": [document.pk], "post": "yes"}
    as_user(curator).post(LIST, body)
    assert Document.objects.exists()


@pytest.mark.parametrize("name", ["retry", "replace", "delete"])
def test_what_may_not_be_known_is_not_there(as_user, curator, document, name):
    Membership.objects.all().delete()
    response = as_user(curator).post(of(document, name), {"post": "yes"})
    assert response.status_code in {302, 404}
    assert Document.objects.get().state == "ready"


def test_nothing_is_edited_in_place(as_user, admin, document):
    assert as_user(admin).post(of(document, "change"), {"title": "Changed"}).status_code == 403
    document.refresh_from_db()
    assert document.title != "Changed"


def test_the_list_asks_once_for_the_progress_of_all(
    as_user, admin, alice, collection, document, django_assert_max_num_queries
):
    for number in range(6):
        ingest(alice, collection, f"{number}.md", f"Words of {number}.")
    client = as_user(admin)
    client.get(LIST)
    with django_assert_max_num_queries(16):
        client.get(LIST)


def test_pause_resume_and_cancel_of_one_and_of_several(as_user, admin, alice, collection):
    waiting = add_document(alice, collection, file("wait.md")).document
    client = as_user(admin)
    assert of(waiting, "pause") in client.get(of(waiting, "change")).content.decode()
    client.post(of(waiting, "pause"))
    waiting.refresh_from_db()
    assert waiting.paused
    page = client.get(of(waiting, "change")).content.decode()
    assert of(waiting, "resume") in page
    assert of(waiting, "pause") not in page
    response = client.post(LIST, {"action": "resume", "_selected_action": [waiting.pk]})
    assert said(client, response) == ["Goes on: 1."]
    response = client.post(LIST, {"action": "cancel", "_selected_action": [waiting.pk]})
    assert said(client, response) == ["Cancelled: 1."]
    waiting.refresh_from_db()
    assert (waiting.state, waiting.paused) == ("cancelled", False)
    assert of(waiting, "retry") in client.get(of(waiting, "change")).content.decode()


def test_stages_are_shown_and_filtered_by(as_user, admin, document):
    document.stages.update_or_create(
        stage="embed", defaults={"state": "failed", "done": 3, "total": 8, "error": "The model was away."}
    )
    page = as_user(admin).get(of(document, "change")).content.decode()
    assert "3 of 8" in page
    assert "Failed" in page
    assert "(&#x27;failed" not in page
    assert "The model was away." in page
    for value, count in [("embed-failed", 1), ("embed-running", 0), ("nonsense", 1)]:
        assert as_user(admin).get(f"{LIST}?stage={value}").context["cl"].result_count == count


def test_a_twin_is_named_only_to_those_who_may_see_it(as_user, admin, alice, curator, collection, index):
    diary = Collection.objects.create(name="Diary", slug="diary", owner=alice)
    ingest(alice, diary, "confidential.txt", "The very same words.")
    copy = ingest(alice, collection, "copy.txt", "The very same words.")
    assert "confidential" in as_user(admin).get(of(copy, "change")).content.decode()
    assert "confidential" not in as_user(curator).get(of(copy, "change")).content.decode()


UPLOADS = reverse("admin:documents_upload_changelist")
COLLECTIONS = reverse("admin:core_collection_changelist")


def test_files_added_together_are_an_upload_that_is_steered_as_one(as_user, admin, collection):
    client = as_user(admin)
    client.post(ADD, {"collection": collection.pk, "uploads": [file("a.md"), file("b.md", b"# B")]})
    upload = Upload.objects.get()
    assert (upload.origin, upload.documents.count()) == ("admin", 2)
    assert "0 of 2 documents" in client.get(UPLOADS).content.decode()
    for action, words, states in [
        ("pause", "Paused: 1.", {("queued", True)}),
        ("resume", "Goes on: 1.", {("queued", False)}),
        ("cancel", "Cancelled: 1.", {("cancelled", False)}),
        ("retry", "Taken up again: 1.", {("queued", False)}),
    ]:
        response = client.post(UPLOADS, {"action": action, "_selected_action": [upload.pk]})
        assert said(client, response) == [words]
        assert set(upload.documents.values_list("state", "paused")) == states
    listed = client.get(f"{LIST}?upload__id__exact={upload.pk}")
    assert listed.context["cl"].result_count == 2


def test_an_upload_and_a_collection_are_parsed_again(as_user, admin, alice, collection, index):
    client, upload = as_user(admin), open_upload(alice, collection, "page", "Hers")
    document = add_document(alice, collection, file("a.md"), upload=upload).document
    for number, (url, row) in enumerate([(UPLOADS, upload), (COLLECTIONS, collection)], 2):
        work_off()
        response = client.post(url, {"action": "reparse", "_selected_action": [row.pk]})
        assert said(client, response) == ["To be parsed again: 1."]
        document.refresh_from_db()
        assert (document.state, document.incoming.number) == ("queued", number)


def test_a_reader_who_is_staff_steers_no_upload(as_user, curator, alice, collection):
    upload = open_upload(alice, collection, "page", "Hers")
    add_document(alice, collection, file("a.md"), upload=upload)
    client = as_user(curator)
    response = client.post(UPLOADS, {"action": "cancel", "_selected_action": [upload.pk]})
    assert "ask its owner" in said(client, response)[0]
    assert upload.documents.get().state == "queued"
