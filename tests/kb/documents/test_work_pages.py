"""Uploads, failures, and the buttons that pause, resume, cancel and retry: for whom, and what the pages say."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from kb.core.actions import create_collection
from kb.core.models import AuditEntry, Collection, Heartbeat, Membership, User
from kb.core.pagination import paginate
from kb.core.problems import Problem
from kb.documents import actions
from kb.documents.models import Document, DocumentStage, Upload
from kb.indexes.models import Index
from tests.conftest import ingest, work_off

pytestmark = pytest.mark.django_db(transaction=True)


def words(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.fixture
def upload(alice: User, collection: Collection) -> Upload:
    """Three documents that wait."""
    opened = actions.open_upload(alice, collection, Upload.Origin.PAGE, "Field notes")
    for name in ("one.txt", "two.txt", "three.txt"):
        actions.add_document(
            alice, collection, ContentFile(f"Words of {name}.".encode(), name), upload=opened
        )
    return opened


@pytest.fixture
def document(upload: Upload) -> Document:
    return upload.documents.get(filename="one.txt")


@pytest.fixture
def editor(bob: User, collection: Collection) -> User:
    Membership.objects.filter(user=bob).update(role="editor")
    return bob


def states() -> list[tuple[str, bool]]:
    return sorted(Document.objects.values_list("state", "paused"))


def pages(upload: Upload, document: Document) -> list[str]:
    return ["/library/papers/", f"/uploads/{upload.pk}/", f"/documents/{document.pk}/"]


class TestButtons:
    @pytest.mark.parametrize("which", [0, 1, 2])
    def test_pause_and_resume_take_turns(
        self, as_user, editor: User, upload: Upload, document: Document, which: int
    ) -> None:
        client, page = as_user(editor), pages(upload, document)[which]
        concerned = 1 if which == 2 else 3
        assert "Pause" in words(client.get(page))
        response = client.post(f"{page}pause/", follow=True)
        assert response.redirect_chain[-1][0] == page
        assert "Resume" in words(response)
        assert "Paused" in words(response)
        assert Document.objects.filter(paused=True).count() == concerned
        response = client.post(f"{page}resume/", follow=True)
        assert "goes on" in words(response)
        assert not Document.objects.filter(paused=True).exists()

    @pytest.mark.parametrize("which", [0, 1, 2])
    def test_what_was_cancelled_is_taken_up_again(
        self, as_user, editor: User, upload: Upload, document: Document, which: int
    ) -> None:
        client, page = as_user(editor), pages(upload, document)[which]
        concerned = 1 if which == 2 else 3
        said = words(client.post(f"{page}cancel/", follow=True))
        assert f"Cancelled: the work on {concerned} document" in said
        assert Document.objects.filter(state="cancelled").count() == concerned
        said = words(client.post(f"{page}retry/", follow=True))
        assert f"Taken up again: {concerned} document" in said
        assert {state for state, _ in states()} == {"queued"}

    @pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
    def test_a_reader_is_refused_and_a_stranger_finds_nothing(
        self, as_user, bob: User, charlie: User, upload: Upload, document: Document, verb: str
    ) -> None:
        for page in pages(upload, document):
            assert as_user(bob).post(f"{page}{verb}/").status_code == 403
            assert as_user(charlie).post(f"{page}{verb}/").status_code == 404
            assert as_user(bob).get(page).status_code == 200
            assert f"{verb}/" not in as_user(bob).get(page).content.decode()
            assert as_user().post(f"{page}{verb}/")["Location"].startswith("/login/")
            assert as_user(bob).get(f"{page}{verb}/").status_code == 405
        assert states() == [("queued", False)] * 3

    @pytest.mark.parametrize("which", [0, 1])
    def test_all_files_are_read_again(
        self, as_user, editor: User, upload: Upload, document: Document, index: Index, which: int
    ) -> None:
        client, page = as_user(editor), pages(upload, document)[which]
        assert "Read the files again" not in words(client.get(page)), "nothing is read yet"
        work_off()
        assert "Read all 3 again" in words(client.get(page))
        assert "Read again: 3 documents of" in words(
            client.post(f"{page}reparse/", {"next": page}, follow=True)
        )
        assert states() == [("queued", False)] * 3
        assert set(Document.objects.values_list("incoming__number", flat=True)) == {2}

    def test_a_button_leads_back_to_where_it_was(self, as_user, editor: User, document: Document) -> None:
        client, path = as_user(editor), f"/documents/{document.pk}/pause/"
        assert client.post(path, {"next": "/library/papers/?q=one"})["Location"] == "/library/papers/?q=one"
        elsewhere = client.post(path, {"next": "https://elsewhere.example/"})
        assert elsewhere["Location"] == f"/documents/{document.pk}/"

    def test_what_makes_no_sense_is_explained(self, as_user, editor: User, document: Document) -> None:
        page = words(as_user(editor).post(f"/documents/{document.pk}/retry/", follow=True))
        assert "Only a failed or cancelled document can be retried" in page

    def test_a_paused_collection_says_so_while_it_is_empty(
        self, as_user, alice: User, collection: Collection
    ) -> None:
        actions.pause(alice, collection)
        said = words(as_user(alice).get("/library/papers/"))
        assert "what is put in waits" in said
        assert "Resume" in said

    def test_one_can_show_the_paused_ones_alone(
        self, as_user, alice: User, upload: Upload, document: Document
    ) -> None:
        actions.pause(alice, document)
        said = words(as_user(alice).get("/library/papers/?state=paused"))
        assert "one.txt" in said
        assert "two.txt" not in said


class TestProgress:
    def test_figures_of_a_collection_and_of_an_upload(
        self, as_user, bob: User, alice: User, upload: Upload, document: Document, index: Index
    ) -> None:
        actions.pause(alice, document)
        ingest(alice, upload.collection, "other.txt", "Something else.")
        client = as_user(bob)
        for path, total in [("/library/papers/", 4), (f"/uploads/{upload.pk}/", 3)]:
            said = words(client.get(f"{path}progress/"))
            assert f"{total} documents:" in said
            assert "1 paused" in said
            assert f"{total - 1} ready" in said

    def test_polling_goes_on_and_is_slower_when_nothing_is_in_work(
        self, as_user, bob: User, upload: Upload, index: Index
    ) -> None:
        path = f"/uploads/{upload.pk}/progress/"
        html = as_user(bob).get(path).content.decode()
        assert f'hx-get="{path}?acts="' in html
        assert 'hx-trigger="every 2s"' in html
        assert 'data-work="3"' in html
        work_off()
        html = as_user(bob).get(path).content.decode()
        assert 'hx-trigger="every 15s"' in html
        assert 'data-work="0"' in html
        assert "3 documents, all ready" in words(as_user(bob).get(path))

    @pytest.mark.parametrize("path", ["/library/papers/", "/uploads/{}/"])
    def test_a_list_is_fetched_anew_when_documents_came(
        self, as_user, alice: User, bob: User, upload: Upload, path: str
    ) -> None:
        def asked(html: str) -> str:
            [found] = re.findall(r'hx-get="([^"]+/progress/[^"]*)"', html)
            return unescape(found)

        path, client = path.format(upload.pk), as_user(bob)
        poll = asked(client.get(path).content.decode())
        assert "HX-Trigger" not in client.get(poll)
        later = ContentFile(b"Later words.", "later.txt")
        came = actions.add_document(alice, upload.collection, later, upload=upload).document
        response = client.get(poll)
        assert response["HX-Trigger"] == "documents-came"
        assert asked(response.content.decode()) == poll, "asked for again until the list has come"
        poll = asked(client.get(path).content.decode())
        assert f"newest={came.pk}" in poll
        assert "HX-Trigger" not in client.get(poll)
        assert 'hx-trigger="documents-came from:body"' in client.get(path).content.decode()

    def test_a_narrowed_list_and_later_pages_stay(self, as_user, bob: User, upload: Upload) -> None:
        cursor = paginate(upload.documents.all(), ["-created_at", "id"], None, 1).next_cursor
        for query in ("q=one", "state=queued", f"cursor={cursor}"):
            assert "newest=" not in as_user(bob).get(f"/library/papers/?{query}").content.decode()

    def test_a_page_without_documents_is_loaded_anew_when_some_came(
        self, as_user, alice: User, collection: Collection
    ) -> None:
        client = as_user(alice)
        assert "?acts=&amp;newest=" in client.get("/library/papers/").content.decode()
        path = "/library/papers/progress/?acts=&newest="
        assert "HX-Refresh" not in client.get(path)
        actions.add_document(alice, collection, ContentFile(b"Words.", "a.txt"))
        assert client.get(path)["HX-Refresh"] == "true"

    @pytest.mark.parametrize(
        ("path", "part"),
        [
            ("/library/", "shelves"),
            ("/uploads/", "uploads"),
            ("/library/failures/", "failures"),
            ("/library/papers/sources/", "sources"),
        ],
    )
    def test_other_pages_stay_fresh_as_well(
        self, as_user, alice: User, collection: Collection, path: str, part: str
    ) -> None:
        html = as_user(alice).get(path).content.decode()
        assert f'<div id="{part}" hx-get="{path}" hx-select="#{part}"' in html
        assert 'hx-trigger="every 15s"' in html

    def test_buttons_come_anew_only_when_they_change(self, as_user, alice: User, upload: Upload) -> None:
        path, client = f"/uploads/{upload.pk}/progress/", as_user(alice)
        assert "<button" not in client.get(f"{path}?acts=Pause|Cancel the rest").content.decode()
        assert f'id="acts-{upload.pk}"' in client.get(f"{path}?acts=Resume").content.decode()

    def test_only_documents_of_the_upload_are_told(
        self, as_user, alice: User, upload: Upload, document: Document
    ) -> None:
        foreign = actions.add_document(
            alice, upload.collection, ContentFile(b"Foreign words.", "foreign.txt")
        ).document
        html = (
            as_user(alice)
            .get(f"/uploads/{upload.pk}/progress/?id={document.pk}&id={foreign.pk}")
            .content.decode()
        )
        assert f'id="state-{document.pk}"' in html
        assert f'id="state-{foreign.pk}"' not in html

    def test_rate_remaining_time_and_what_is_ahead_stand_on_all_three(
        self, as_user, bob: User, alice: User, upload: Upload, document: Document
    ) -> None:
        earlier = actions.open_upload(alice, upload.collection, Upload.Origin.API)
        actions.add_document(alice, upload.collection, ContentFile(b"Elsewhere.", "d.txt"), upload=earlier)
        long_ago = timezone.now() - timedelta(hours=1)
        earlier.documents.update(queued_at=long_ago)
        for queue, rate in (("embed", 25.0), ("parse", 0.5)):
            Heartbeat.objects.create(worker=queue, queue=queue, pid=1, at=timezone.now(), rate=rate)
        for page in pages(upload, document):
            said = words(as_user(bob).get(page))
            assert "less than a minute left" in said
            assert "25 passages/s 0.5 documents/s" in said
            assert ("1 other document is read first" in said) is (page != "/library/papers/")

    def test_a_document_shows_its_stages(self, as_user, bob: User, document: Document) -> None:
        DocumentStage.objects.create(document=document, stage="embed", total=40, done=10, reused=3, attempt=2)
        DocumentStage.objects.create(document=document, stage="parse", state="failed", error="It broke.")
        said = words(as_user(bob).get(f"/documents/{document.pk}/"))
        assert said.index("Parse : Failed") < said.index("Embed : Running")
        assert "It broke." in said
        assert "10 of 40 passages" in said
        assert "attempt 2" in said

    def test_how_much_was_reused_is_for_administrators_with_all_rights(
        self, as_user, alice: User, admin: User, document: Document
    ) -> None:
        DocumentStage.objects.create(document=document, stage="embed", total=40, done=40, reused=37)
        assert "37" not in words(as_user(alice).get(f"/documents/{document.pk}/"))
        path = f"/admin/documents/document/{document.pk}/change/"
        assert "37" in words(as_user(admin).get(path))
        User.objects.filter(pk=alice.pk).update(is_staff=True)
        alice.user_permissions.set(Permission.objects.filter(content_type__app_label="documents"))
        staff = as_user(User.objects.get(pk=alice.pk)).get(path)
        assert staff.status_code == 200
        assert "Reused" not in words(staff)


class TestUploads:
    def test_those_of_collections_one_may_add_to(
        self, as_user, editor: User, alice: User, charlie: User, upload: Upload
    ) -> None:
        actions.open_upload(alice, upload.collection, Upload.Origin.API, "Without any file")
        for user in (editor, alice):
            said = words(as_user(user).get("/uploads/"))
            assert "Field notes" in said
            assert "3 in work" in said
            assert "Without any file" not in said
        assert "Field notes" not in words(as_user(charlie).get("/uploads/"))
        assert as_user(charlie).get(f"/uploads/{upload.pk}/").status_code == 404
        assert as_user(charlie).get(f"/uploads/{upload.pk}/progress/").status_code == 404
        assert as_user().get("/uploads/")["Location"] == "/login/?next=/uploads/"

    def test_a_reader_sees_an_upload_but_not_the_list(self, as_user, bob: User, upload: Upload) -> None:
        assert "Field notes" in words(as_user(bob).get(f"/uploads/{upload.pk}/"))
        assert "Field notes" not in words(as_user(bob).get("/uploads/"))

    def test_they_come_in_pages(self, as_user, alice: User, collection: Collection) -> None:
        for number in range(30):
            opened = actions.open_upload(alice, collection, Upload.Origin.API, f"Upload {number:02}")
            Document.objects.create(collection=collection, title="x", filename="x.txt", upload=opened)
        html = as_user(alice).get("/uploads/").content.decode()
        older = re.search(r'href="(\?[^"]*)" rel="next"', html)
        assert older
        seen = re.findall(r"Upload \d\d", html)
        seen += re.findall(r"Upload \d\d", as_user(alice).get(f"/uploads/{older[1]}").content.decode())
        assert sorted(set(seen)) == [f"Upload {number:02}" for number in range(30)]
        assert as_user(alice).get("/uploads/?cursor=nonsense").status_code == 404


class TestPuttingInTogether:
    def send(self, client, name: str, upload: str):
        form = {"collection": "papers", "upload": upload, "files": SimpleUploadedFile(name, name.encode())}
        return client.post("/upload/", form, headers={"Accept": "application/json"})

    def test_files_sent_one_by_one_are_one_upload(
        self, as_user, editor: User, collection: Collection
    ) -> None:
        client = as_user(editor)
        opened = client.post("/uploads/open/", {"collection": "papers", "name": "Holiday"})
        assert opened.status_code == 201
        answer = opened.json()
        for name in ("a.txt", "b.txt"):
            assert self.send(client, name, answer["id"]).status_code == 201
        upload = Upload.objects.get()
        assert answer == {
            "id": str(upload.pk),
            "url": f"/uploads/{upload.pk}/",
            "progress": f"/uploads/{upload.pk}/progress/",
        }
        assert (upload.name, upload.origin, upload.created_by) == ("Holiday", "page", editor)
        assert upload.documents.count() == 2

    def test_an_upload_of_somebody_else_is_not_taken(self, as_user, editor: User, upload: Upload) -> None:
        response = self.send(as_user(editor), "a.txt", str(upload.pk))
        assert response.status_code == 400
        assert "There is no such upload" in response.json()["problem"]
        assert self.send(as_user(editor), "a.txt", "nonsense").status_code == 400
        assert not Document.objects.filter(filename="a.txt").exists()

    def test_nobody_opens_one_where_they_may_not_add(
        self, as_user, bob: User, collection: Collection
    ) -> None:
        response = as_user(bob).post("/uploads/open/", {"collection": "papers"})
        assert response.status_code == 400
        assert "There is no such collection" in response.json()["problem"]
        assert as_user(bob).get("/uploads/open/").status_code == 405
        assert not Upload.objects.exists()

    def test_files_that_were_all_here_lead_to_the_collection(
        self, as_user, alice: User, upload: Upload
    ) -> None:
        files = [SimpleUploadedFile("one.txt", b"Words of one.txt.")]
        response = as_user(alice).post("/upload/", {"collection": "papers", "files": files})
        assert response["Location"] == "/library/papers/"


class TestFailures:
    @pytest.fixture
    def failed(self, alice: User, upload: Upload) -> list[Document]:
        """Two of the upload for one cause, and one of another collection for another."""
        other = Collection.objects.create(name="Diary", slug="diary", owner=alice)
        lone = actions.add_document(alice, other, ContentFile(b"Dear diary", "day.txt")).document
        broken = Document.objects.filter(filename__in=["one.txt", "two.txt"])
        broken.update(state="failed", error_code="broken", error="It is cut off.")
        Document.objects.filter(pk=lone.pk).update(
            state="failed", error_code="timeout", error="60 s were over."
        )
        return [*broken, lone]

    def test_they_are_grouped_by_cause_with_the_remedy(self, as_user, alice: User, failed) -> None:
        said = words(as_user(alice).get("/library/failures/"))
        assert "The file is damaged or incomplete 2" in said
        assert "Reading took too long 1" in said
        assert "PARSE_SECONDS" in said
        assert said.index("damaged") < said.index("too long")
        assert said.count("It is cut off.") == 2

    def test_of_one_collection_and_of_one_upload(self, as_user, alice: User, upload: Upload, failed) -> None:
        for path in ("/library/papers/failures/", f"/uploads/{upload.pk}/failures/"):
            said = words(as_user(alice).get(path))
            assert "It is cut off." in said
            assert "60 s were over." not in said

    def test_each_sees_and_retries_what_they_may(
        self, as_user, bob: User, charlie: User, upload: Upload, failed
    ) -> None:
        said = words(as_user(bob).get("/library/failures/"))
        assert "It is cut off." in said
        assert "60 s" not in said
        assert "Try" not in said
        assert "Nothing has failed" in words(as_user(charlie).get("/library/failures/"))
        for path in ("/library/papers/failures/", f"/uploads/{upload.pk}/failures/"):
            assert as_user(charlie).get(path).status_code == 404
            assert as_user(charlie).post(f"{path}retry/", {"code": "broken"}).status_code == 404
            assert as_user(bob).post(f"{path}retry/", {"code": "broken"}).status_code == 403
        response = as_user(bob).post("/library/failures/retry/", {"code": "broken"}, follow=True)
        assert "Taken up again: 0 documents." in words(response)
        assert Document.objects.filter(state="failed").count() == 3

    @pytest.mark.parametrize("path", ["/library/failures/", "/library/papers/failures/", "upload"])
    def test_a_cause_is_retried_as_a_whole(
        self, as_user, alice: User, upload: Upload, failed, path: str
    ) -> None:
        path = path.replace("upload", f"/uploads/{upload.pk}/failures/")
        response = as_user(alice).post(f"{path}retry/", {"code": "broken"}, follow=True)
        assert response.redirect_chain[-1][0] == path
        assert "Taken up again: 2 documents." in words(response)
        assert Document.objects.get(state="failed").error_code == "timeout"
        assert AuditEntry.objects.filter(verb="retry").count() == 1

    def test_more_of_one_cause_are_a_link_away(self, as_user, alice: User, collection: Collection) -> None:
        Document.objects.bulk_create(
            Document(collection=collection, title=f"{n}", filename="x.pdf", state="failed", error_code=code)
            for n, code in enumerate(["broken"] * 9 + ["timeout"])
        )
        client = as_user(alice)
        html = client.get("/library/papers/failures/").content.decode()
        link = re.search(r'href="([^"]+cause=broken)">4 more', html)
        assert link
        listed = client.get(link[1].replace("&amp;", "&")).content.decode()
        assert len(re.findall(r'class="name"', listed)) == 9

    def test_no_collection_takes_the_address_of_the_failures(self, alice: User) -> None:
        assert create_collection(alice, "Failures").slug.startswith("failures-")
        with pytest.raises(Problem, match="taken"):
            create_collection(alice, "Other", "failures")


class TestRelatives:
    def test_a_copy_names_its_twin_to_those_who_may_see_it(
        self, as_user, alice: User, bob: User, collection: Collection, index: Index
    ) -> None:
        diary = Collection.objects.create(name="Diary", slug="diary", owner=alice)
        first = ingest(alice, diary, "first.txt", "The very same words.")
        second = ingest(alice, collection, "second.txt", "The very same words.")
        assert second.same_as == first
        assert "Same file as first in Diary" in words(as_user(alice).get(f"/documents/{second.pk}/"))
        assert "Same file as" not in words(as_user(bob).get(f"/documents/{second.pk}/"))

    def test_an_archive_lists_its_entries_and_they_name_it(
        self, as_user, bob: User, document: Document, upload: Upload
    ) -> None:
        entries = upload.documents.exclude(pk=document.pk)
        entries.update(archive=document)
        said = words(as_user(bob).get(f"/documents/{document.pk}/"))
        assert "2 files in this archive" in said
        assert "three.txt" in said
        assert "Out of one.txt" in words(as_user(bob).get(f"/documents/{entries[0].pk}/"))

    def test_the_page_of_an_archive_is_fresh_until_its_entries_are_done(
        self, as_user, bob: User, document: Document, upload: Upload
    ) -> None:
        entries = upload.documents.exclude(pk=document.pk)
        path, client = f"/documents/{document.pk}/progress/", as_user(bob)
        assert "three.txt" not in words(client.get(f"{path}?entries=0&reading=1"))
        entries.update(archive=document)
        assert "three.txt" in words(client.get(f"{path}?entries=0&reading=1"))
        Document.objects.filter(pk=document.pk).update(state="ready")
        assert client.get(f"{path}?entries=2&reading=1")["HX-Refresh"] == "true", "its text has come"
        response = client.get(f"{path}?entries=2&id={entries[0].pk}")
        html = response.content.decode()
        assert 'hx-trigger="every 2s"' in html
        assert f'id="state-{entries[0].pk}"' in html
        assert "1 of 3 documents ready" in words(response)
        assert "HX-Refresh" not in response
        entries.update(state="ready")
        assert client.get(f"{path}?entries=2")["HX-Refresh"] == "true"
        assert "hx-get" not in client.get(f"/documents/{document.pk}/").content.decode()

    def test_what_the_file_says_of_itself(
        self, as_user, alice: User, bob: User, collection: Collection, index: Index
    ) -> None:
        document = ingest(alice, collection, "a.txt", "Words.")
        document.revisions.update(author="Ada <L>", language="de", written_at="1843-09-01T12:00Z")
        said = words(as_user(bob).get(f"/documents/{document.pk}/"))
        assert "Author Ada &lt;L&gt; Written 1 September 1843 Language German" in said
