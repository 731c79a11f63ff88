"""The library, uploads, the page of a document, and what may be done to it by whom."""

import re
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.utils import timezone

from kb.core.models import Collection, Heartbeat, Membership, User
from kb.documents.actions import add_document, replace_document
from kb.documents.models import Document
from kb.indexes.models import Index
from tests.conftest import ingest, work_off

pytestmark = pytest.mark.django_db(transaction=True)

BREAD = "# Bread\n\nFlour and water.\n\n## Salt\n\nA pinch of <b>salt</b> & no more.\n"


def words(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.fixture
def bread(alice: User, collection: Collection, index: Index) -> Document:
    return ingest(alice, collection, "bread.md", BREAD)


@pytest.fixture
def editor(bob: User, collection: Collection) -> User:
    Membership.objects.filter(user=bob).update(role="editor")
    return bob


def queued(alice: User, collection: Collection, name: str = "new.txt") -> Document:
    return add_document(alice, collection, ContentFile(b"Something new.", name)).document


class TestLibrary:
    def test_counts_what_the_reader_may_see(self, as_user, bob: User, bread: Document, alice: User) -> None:
        Collection.objects.create(name="Diary", slug="diary", owner=alice)
        said = words(as_user(bob).get("/library/"))
        assert "Papers" in said
        assert "1 document all ready" in said
        assert "Diary" not in said

    def test_charlie_finds_nothing(self, as_user, charlie: User, bread: Document) -> None:
        response = as_user(charlie).get("/library/")
        assert "Papers" not in words(response)
        assert "Make a collection" in words(response)
        assert as_user(charlie).get("/library/papers/").status_code == 404
        assert as_user(charlie).get("/library/papers/progress/").status_code == 404

    def test_anonymous_readers_see_public_collections(
        self, as_user, bread: Document, collection: Collection
    ) -> None:
        assert as_user().get("/library/papers/").status_code == 404
        Collection.objects.filter(pk=collection.pk).update(visibility="public")
        assert "Bread" in words(as_user().get("/library/papers/"))
        assert as_user().get(f"/documents/{bread.pk}/").status_code == 200


class TestCollection:
    def test_an_empty_one_says_how_to_add(
        self, as_user, alice: User, bob: User, collection: Collection
    ) -> None:
        assert "Upload documents" in words(as_user(alice).get("/library/papers/"))
        assert "Upload documents" not in words(as_user(bob).get("/library/papers/"))

    def test_work_is_polled_and_nobody_working_is_said(
        self, as_user, alice: User, collection: Collection
    ) -> None:
        document = queued(alice, collection)
        response = as_user(alice).get("/library/papers/")
        poll = f"/library/papers/progress/?acts=Pause%7CCancel&amp;newest={document.pk}&amp;id={document.pk}"
        assert poll in response.content.decode()
        assert "no worker reads files or indexes" in words(response)
        for queue in ("parse", "embed"):
            Heartbeat.objects.create(worker=queue, queue=queue, pid=1, at=timezone.now())
        assert "no worker" not in words(as_user(alice).get("/library/papers/"))

    def test_what_is_done_is_asked_for_no_more(self, as_user, alice: User, bread: Document) -> None:
        html = as_user(alice).get(f"/library/papers/progress/?id={bread.pk}").content.decode()
        assert f'id="state-{bread.pk}" data-state="ready" hx-swap-oob="true"' in html
        assert f"id={bread.pk}" not in html

    @pytest.mark.parametrize("query", ["id=x", "id=%00"])
    def test_polling_for_nonsense_is_refused(
        self, as_user, alice: User, collection: Collection, query: str
    ) -> None:
        assert as_user(alice).get(f"/library/papers/progress/?{query}").status_code == 404

    def test_a_failure_says_why_and_can_be_retried_by_editors(
        self, as_user, alice: User, bob: User, collection: Collection, index: Index
    ) -> None:
        broken = ingest(alice, collection, "broken.pdf", b"%PDF-1.4 nothing")
        assert broken.state == "failed"
        assert broken.error in words(as_user(bob).get("/library/papers/"))
        assert "Try again" not in words(as_user(bob).get("/library/papers/"))
        assert "Try again" in words(as_user(alice).get("/library/papers/"))
        form = {"next": "/library/papers/?state=failed"}
        response = as_user(alice).post(f"/documents/{broken.pk}/retry/", form)
        assert response["Location"] == form["next"]
        broken.refresh_from_db()
        assert broken.state == "queued"

    def test_filters_by_name_and_state(
        self, as_user, alice: User, bread: Document, collection: Collection
    ) -> None:
        queued(alice, collection)
        client = as_user(alice)
        assert "new.txt" not in words(client.get("/library/papers/?q=bre"))
        assert "bread.md" not in words(client.get("/library/papers/?state=work"))
        assert "No document here fits" in words(client.get("/library/papers/?q=zzz"))
        assert client.get("/library/papers/?state=nonsense").status_code == 404

    def test_pages_follow_each_other(self, as_user, alice: User, collection: Collection) -> None:
        Document.objects.bulk_create(
            Document(collection=collection, title=f"Title {n:03}", filename="x.txt") for n in range(120)
        )
        client, path, seen = as_user(alice), "/library/papers/", []
        while path:
            html = client.get(path).content.decode()
            seen += re.findall(r"Title \d{3}(?=</a>)", html)
            older = re.search(r'href="(\?[^"]*)" rel="next"', html)
            path = f"/library/papers/{older[1].replace('&amp;', '&')}" if older else ""
        assert sorted(seen) == [f"Title {n:03}" for n in range(120)]
        assert client.get("/library/papers/?cursor=nonsense").status_code == 404


class TestUpload:
    def send(self, client, name: str, content: bytes, collection: str = "papers", **headers: str):
        form = {"collection": collection, "files": SimpleUploadedFile(name, content)}
        return client.post("/upload/", form, headers=headers)

    def test_one_file_answered_by_json(self, as_user, editor: User, collection: Collection) -> None:
        response = self.send(as_user(editor), "a.txt", b"Words.", accept="application/json")
        assert response.status_code == 201
        document = Document.objects.get()
        assert response.json() == {
            "id": str(document.pk),
            "created": True,
            "url": f"/documents/{document.pk}/",
        }
        again = self.send(as_user(editor), "a.txt", b"Words.", accept="application/json")
        assert (again.status_code, again.json()["created"]) == (200, False)

    @pytest.mark.parametrize(("name", "content", "status", "message"), [
        ("a.exe", b"MZ", 415, "Readable are PDF"),
        ("noname", b"x", 415, "Files without a suffix"),
        ("a.txt", b"", 400, "empty"),
        ("a.txt", b"x" * 2000, 413, "larger than"),
    ])  # fmt: skip
    def test_bad_files_are_refused_in_words(
        self, as_user, alice: User, collection: Collection, settings, name: str, content: bytes, status: int,
        message: str,
    ) -> None:  # fmt: skip
        settings.MAX_UPLOAD_BYTES = 1000
        response = self.send(as_user(alice), name, content, accept="application/json")
        assert response.status_code == status
        assert message in response.json()["problem"]
        page = self.send(as_user(alice), name, content)
        assert page.status_code == 400
        assert message in words(page)
        assert not Document.objects.exists()

    def test_a_full_queue_is_told(self, as_user, alice: User, collection: Collection, settings) -> None:
        settings.MOST_WAITING = 1
        queued(alice, collection)
        response = self.send(as_user(alice), "a.txt", b"Words.", accept="application/json")
        assert (response.status_code, response.json()["seconds"]) == (429, 30)
        assert "1 documents of this collection wait already" in response.json()["problem"]
        assert "wait already" in words(self.send(as_user(alice), "a.txt", b"Words."))
        assert Document.objects.count() == 1

    def test_several_files_by_form(self, as_user, alice: User, collection: Collection) -> None:
        files = [SimpleUploadedFile("a.txt", b"A."), SimpleUploadedFile("b.exe", b"B")]
        response = as_user(alice).post("/upload/", {"collection": "papers", "files": files}, follow=True)
        document = Document.objects.get()
        assert response.redirect_chain[-1][0] == f"/uploads/{document.upload_id}/"
        assert "a.txt is being read" in words(response)
        assert "b.exe: Files of the type .exe cannot be read" in words(response)

    def test_no_file_is_said(self, as_user, alice: User, collection: Collection) -> None:
        assert "Choose at least one file" in words(as_user(alice).post("/upload/", {"collection": "papers"}))

    def test_a_reader_and_a_stranger_are_told_the_same(
        self, as_user, bob: User, charlie: User, collection: Collection
    ) -> None:
        for user in (bob, charlie):
            response = self.send(as_user(user), "a.txt", b"x", accept="application/json")
            assert response.status_code == 400
            assert "There is no such collection" in response.json()["problem"]
            assert "Papers" not in words(as_user(user).get("/upload/"))
        assert not Document.objects.exists()

    def test_nobody_is_asked_to_sign_in(self, as_user, db: None) -> None:
        assert as_user().get("/upload/")["Location"] == "/login/?next=/upload/"


class TestDocument:
    def test_text_is_data(self, as_user, bob: User, bread: Document) -> None:
        html = as_user(bob).get(f"/documents/{bread.pk}/").content.decode()
        assert "<b>salt" not in html
        assert "no more" in html
        assert ">Salt</h3>" in html

    def test_exactly_the_passage_is_marked(self, as_user, bob: User, bread: Document) -> None:
        text = bread.current.text
        start = text.index("Flour")
        response = as_user(bob).get(f"/documents/{bread.pk}/?start={start}&end={start + 9}&revision=1")
        assert re.findall(r"<mark[^>]*>(.*?)</mark>", response.content.decode()) == ["Flour and"]
        assert '<mark id="passage"' in response.content.decode()

    @pytest.mark.parametrize("query", [
        "start=x&end=3", "start=5&end=3", "start=3", "start=-1&end=3", "start=0&end=9999999", "revision=2",
        "revision=99999999999999", "page=7", "part=2",
    ])  # fmt: skip
    def test_a_place_that_is_none_is_not_found(self, as_user, bob: User, bread: Document, query: str) -> None:
        assert as_user(bob).get(f"/documents/{bread.pk}/?{query}").status_code == 404

    def test_a_big_text_is_shown_in_parts(
        self, as_user, alice: User, collection: Collection, index: Index
    ) -> None:
        line = "Nothing of note stands in this line of the long document.\n\n"
        document = queued(alice, collection)
        revision = document.incoming
        revision.text, revision.parsed_at = line * 4000 + "Needle.", timezone.now()
        revision.save()
        Document.objects.filter(pk=document.pk).update(current=revision, incoming=None, state="ready")
        start = len(line) * 4000
        response = as_user(alice).get(f"/documents/{document.pk}/?start={start}&end={start + 6}")
        html = response.content.decode()
        assert ">Needle</mark>" in html
        assert "Part 4 of 4" in html
        assert len(html) < 150_000
        assert "Part 2 of 4" in as_user(alice).get(f"/documents/{document.pk}/?part=2").content.decode()

    def test_an_old_revision_stays_readable(self, as_user, alice: User, bread: Document) -> None:
        replace_document(alice, bread, ContentFile(b"# Bread\n\nRye.\n", "bread.md"))
        work_off()
        client = as_user(alice)
        assert "Rye." in words(client.get(f"/documents/{bread.pk}/"))
        old = words(client.get(f"/documents/{bread.pk}/?revision=1"))
        assert "Flour and water." in old
        assert "This is revision 1." in old

    def test_an_unread_one_polls(self, as_user, alice: User, collection: Collection) -> None:
        document = queued(alice, collection)
        response = as_user(alice).get(f"/documents/{document.pk}/")
        assert "the file is being read" in words(response)
        assert (
            f'hx-get="/documents/{document.pk}/progress/?acts=Pause%7CCancel&amp;entries=0&amp;reading=1"'
            in response.content.decode()
        )

    def test_the_page_loads_anew_when_work_is_over(self, as_user, alice: User, bread: Document) -> None:
        assert as_user(alice).get(f"/documents/{bread.pk}/progress/")["HX-Refresh"] == "true"

    @pytest.mark.parametrize("page", ["", "original/", "progress/", "replace/", "delete/"])
    def test_charlie_finds_nothing(self, as_user, charlie: User, bread: Document, page: str) -> None:
        missing = as_user(charlie).get(f"/documents/{uuid4()}/{page}")
        hidden = as_user(charlie).get(f"/documents/{bread.pk}/{page}")
        assert (missing.status_code, hidden.status_code) == (404, 404)
        assert words(missing) == words(hidden)

    @pytest.mark.parametrize("page", ["replace/", "delete/", "retry/", "reparse/"])
    def test_bob_may_read_but_not_change(self, as_user, bob: User, bread: Document, page: str) -> None:
        response = as_user(bob).post(f"/documents/{bread.pk}/{page}")
        assert response.status_code == 403
        assert "ask its owner" in words(response)
        assert "Delete" not in words(as_user(bob).get(f"/documents/{bread.pk}/"))

    def test_delete_asks_first(self, as_user, editor: User, bread: Document) -> None:
        client = as_user(editor)
        assert "This cannot be undone" in words(client.get(f"/documents/{bread.pk}/delete/"))
        assert client.post(f"/documents/{bread.pk}/delete/")["Location"] == "/library/papers/"
        assert not Document.objects.exists()

    def test_replace_takes_a_file_or_says_why_not(self, as_user, editor: User, bread: Document) -> None:
        client, path = as_user(editor), f"/documents/{bread.pk}/replace/"
        assert "Choose a file" in words(client.post(path))
        assert "cannot be read" in words(client.post(path, {"file": SimpleUploadedFile("a.exe", b"x")}))
        response = client.post(path, {"file": SimpleUploadedFile("bread.md", b"# Bread\n\nRye.")})
        assert response["Location"] == f"/documents/{bread.pk}/"
        bread.refresh_from_db()
        assert (bread.state, bread.incoming.number) == ("queued", 2)

    def test_retry_of_a_ready_one_is_explained(self, as_user, alice: User, bread: Document) -> None:
        response = as_user(alice).post(
            f"/documents/{bread.pk}/retry/", {"next": "https://elsewhere.example/"}, follow=True
        )
        assert response.redirect_chain[-1][0] == f"/documents/{bread.pk}/"
        assert "Only a failed or cancelled document can be retried" in words(response)


def downloaded(user: User, path: str):
    async def read():
        client = AsyncClient()
        await client.aforce_login(user, backend="django.contrib.auth.backends.ModelBackend")
        response = await client.get(path)
        return response, b"".join([part async for part in response.streaming_content])

    return async_to_sync(read)()


def test_the_original_is_saved_and_never_shown(
    bob: User, alice: User, collection: Collection, index: Index
) -> None:
    page = b"<!doctype html><title>x</title><p>Words</p><script>alert(1)</script>"
    document = ingest(alice, collection, "página.html", page)
    response, content = downloaded(bob, f"/documents/{document.pk}/original/?revision=1")
    assert content == page
    assert response["Content-Disposition"].startswith("attachment")
    assert "p%C3%A1gina.html" in response["Content-Disposition"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("revision", ["0", "2", "x", "9" * 5000])
def test_a_revision_that_is_none_has_no_original(
    as_user, alice: User, bread: Document, revision: str
) -> None:
    response = as_user(alice).get(f"/documents/{bread.pk}/original/", {"revision": revision})
    assert response.status_code == 404
