"""Asking with and without JavaScript, stored answers, footnotes, verdicts, and the search page."""

import json
import re
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from kb.core.models import Collection, Membership, User
from kb.documents.actions import delete_document
from kb.documents.models import Document
from kb.indexes.models import Index
from kb.search import answers
from kb.search.models import Answer, Interaction, Query
from retrieval.answering import AnswerFailed, Cited, Finished, TextDelta
from tests.conftest import ingest

# The answer is made in a thread of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

BEES = "# Bees\n\nThe waggle dance tells the other bees the <b>direction</b> of the flowers.\n"
QUESTION = "What does the waggle dance tell?"


def words(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


class Quoting:
    """A scripted answerer: says the first passage's last sentence."""

    def answer(self, question: str, passages: list) -> object:
        passage = passages[0]
        at = passage.text.index("The waggle")
        cited = Cited(1, passage, passage.start + at, passage.start + len(passage.text), passage.text[at:])
        yield cited
        yield TextDelta(f"{cited.quote} [1]")
        yield Finished(f"{cited.quote} [1]", (cited,), declined=False, model="extractive-test")


class Declining:
    def answer(self, question: str, passages: list) -> object:
        yield Finished("", (), declined=True, model="extractive-test", closest=tuple(passages))


class Failing:
    def answer(self, question: str, passages: list) -> object:
        yield TextDelta("Half of an ")
        raise AnswerFailed("unreachable", "The language model does not answer: check LLM_BASE_URL.")


class Breaking:
    def answer(self, question: str, passages: list) -> object:
        yield TextDelta("Half of an ")
        raise RuntimeError("secret detail")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    def use(answerer: object) -> None:
        monkeypatch.setattr(answers, "answerer", lambda results: answerer)

    use(Quoting())
    return use


@pytest.fixture
def bees(alice: User, collection: Collection, index: Index, script) -> Document:
    return ingest(alice, collection, "bees.md", BEES)


def streamed(user: User | None, question: str = QUESTION, **form: str) -> list[tuple[str, dict]]:
    """The events that a reader gets who stays to the end."""

    async def read() -> tuple[object, str]:
        client = AsyncClient()
        if user is not None:
            await client.aforce_login(user, backend="django.contrib.auth.backends.ModelBackend")
        response = await client.post("/ask/stream", {"q": question, **form})
        return response, b"".join([part async for part in response.streaming_content]).decode()

    response, text = async_to_sync(read)()
    assert response["Content-Type"] == "text/event-stream"
    assert response["X-Accel-Buffering"] == "no"
    frames = [frame.split("\n") for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


class TestStream:
    def test_tells_the_answer_from_start_to_end(self, bob: User, bees: Document) -> None:
        events = streamed(bob)
        assert [name for name, _ in events] == ["started", "cited", "delta", "completed"]
        cited, completed = events[1][1], events[3][1]
        assert cited["href"].startswith(f"/documents/{bees.pk}/?start=")
        assert cited["quote"] == events[2][1]["text"].removesuffix(" [1]")
        answer = Answer.objects.get()
        assert completed["url"] == f"/answers/{answer.pk}/"
        assert (completed["state"], completed["sources"]) == ("answered", 1)
        assert f'href="/answers/{answer.pk}/footnotes/1/"' in completed["html"]
        assert "csrfmiddlewaretoken" in completed["html"]

    def test_charlie_gets_no_word_of_it(self, charlie: User, bees: Document, script) -> None:
        script(Declining())
        events = streamed(charlie)
        assert "waggle dance tells" not in json.dumps(events)
        assert "Bees" not in json.dumps(events)
        assert "do not answer this" in events[-1][1]["html"]

    def test_a_declined_answer_shows_what_is_closest(self, bob: User, bees: Document, script) -> None:
        script(Declining())
        html = streamed(bob)[-1][1]["html"]
        assert "The documents do not answer this." in html
        assert "What comes closest" in html
        assert f"/documents/{bees.pk}/?start=" in html

    def test_a_failing_model_is_explained(self, bob: User, bees: Document, script) -> None:
        script(Failing())
        name, completed = streamed(bob)[-1]
        assert (name, completed["state"]) == ("completed", "failed")
        assert "check LLM_BASE_URL" in completed["html"]
        assert "Half of an" not in completed["html"], "no footnote answers for these words"

    def test_what_broke_is_logged_and_not_told(self, bob: User, bees: Document, script, caplog) -> None:
        script(Breaking())
        name, problem = streamed(bob)[-1]
        assert (name, problem["code"]) == ("problem", "internal")
        assert "secret detail" not in problem["message"]
        assert "secret detail" in caplog.text

    @pytest.mark.parametrize(("question", "form", "code"), [
        ("", {}, "question_empty"),
        ("  \n ", {}, "question_empty"),
        ("x" * 100_000, {}, "question_too_long"),
        (QUESTION, {"collection": "secret"}, "not_found"),
    ])  # fmt: skip
    def test_a_bad_question_is_a_problem(
        self, bob: User, bees: Document, question: str, form: dict[str, str], code: str
    ) -> None:
        [(name, problem)] = streamed(bob, question, **form)
        assert (name, problem["code"]) == ("problem", code)
        assert problem["message"]

    def test_public_collections_answer_everyone(self, bees: Document, collection: Collection) -> None:
        Collection.objects.filter(pk=collection.pk).update(visibility="public")
        assert streamed(None)[-1][1]["state"] == "answered"

    def test_it_is_asked_by_post_with_a_token(self, as_user, bob: User, db: None) -> None:
        assert as_user(bob).get("/ask/stream").status_code == 405


class TestWithoutJavaScript:
    def test_asking_leads_to_the_answer(self, as_user, bob: User, bees: Document) -> None:
        response = as_user(bob).post("/", {"q": QUESTION}, follow=True)
        assert response.redirect_chain[-1][0] == f"/answers/{Answer.objects.get().pk}/"
        html = response.content.decode()
        assert 'data-note="1"' in html
        assert "&lt;b&gt;direction" in html or "direction" in html
        assert "<b>direction" not in html

    def test_a_declined_question_shows_what_is_closest(
        self, as_user, bob: User, bees: Document, script
    ) -> None:
        script(Declining())
        said = words(as_user(bob).post("/", {"q": QUESTION}))
        assert "The documents do not answer this." in said
        assert "What comes closest" in said

    @pytest.mark.parametrize(("question", "message"), [
        ("", "There is no question"),
        ("x" * 100_000, "The question has 100,000 characters"),
    ])  # fmt: skip
    def test_a_bad_question_is_refused_in_words(
        self, as_user, bob: User, bees: Document, question: str, message: str
    ) -> None:
        response = as_user(bob).post("/", {"q": question})
        assert response.status_code == 400
        assert message in words(response)

    def test_a_collection_that_may_not_be_known_is_unknown(
        self, as_user, charlie: User, bees: Document
    ) -> None:
        for slug in ("papers", "nothing"):
            response = as_user(charlie).post("/", {"q": QUESTION, "collection": slug})
            assert response.status_code == 400
            assert f"There is no collection {slug}, or you may not see it." in words(response)


class TestEmptyStates:
    @pytest.mark.parametrize("path", ["/", "/search/", "/search/?q=bees"])
    def test_say_what_to_do(self, as_user, alice: User, path: str) -> None:
        assert "Make a collection" in words(as_user(alice).get(path))
        assert "Nothing here is open to everyone." in words(as_user().get(path))

    @pytest.mark.parametrize("path", ["/", "/search/", "/search/?q=bees"])
    def test_no_documents_yet(
        self, as_user, alice: User, collection: Collection, index: Index, path: str
    ) -> None:
        assert "There are no documents yet" in words(as_user(alice).get(path))


class TestAnswer:
    @pytest.fixture
    def path(self, bob: User, bees: Document) -> str:
        return streamed(bob)[-1][1]["url"]

    def test_is_its_askers(self, as_user, bob: User, charlie: User, admin: User, path: str) -> None:
        assert QUESTION in words(as_user(bob).get(path))
        assert QUESTION in words(as_user(admin).get(path))
        for stranger in (charlie, None):
            for method in ("get", "post"):
                for page in ("", "footnotes/1/", "feedback/"):
                    response = getattr(as_user(stranger), method)(path + page)
                    assert response.status_code in {404, 405}, page
        assert not Interaction.objects.exists()

    def test_a_footnote_opens_the_passage(self, as_user, bob: User, path: str, bees: Document) -> None:
        response = as_user(bob).get(f"{path}footnotes/1/", follow=True)
        target = response.redirect_chain[-1][0]
        assert target.startswith(f"/documents/{bees.pk}/?start=")
        assert target.endswith("&revision=1#passage")
        assert "waggle dance tells" in re.findall(r"<mark[^>]*>(.*?)</mark>", response.content.decode())[0]
        assert Interaction.objects.get().marker == 1
        assert as_user(bob).get(f"{path}footnotes/2/").status_code == 404

    def test_deletion_takes_words_and_footnote(
        self, as_user, alice: User, bob: User, path: str, bees: Document
    ) -> None:
        delete_document(alice, bees)
        response = as_user(bob).get(path)
        assert "waggle dance tells" not in words(response)
        assert "a source that is gone" in words(response)
        assert "This source was deleted" in words(response)
        assert as_user(bob).get(f"{path}footnotes/1/").status_code == 404

    def test_lost_permission_takes_them_too(self, as_user, bob: User, path: str) -> None:
        Membership.objects.all().delete()
        assert "waggle dance tells" not in words(as_user(bob).get(path))
        assert as_user(bob).get(f"{path}footnotes/1/").status_code == 404

    def test_a_verdict_may_be_changed(self, as_user, bob: User, path: str) -> None:
        client = as_user(bob)
        assert client.post(f"{path}feedback/", {"kind": "helpful"})["Location"] == path
        response = client.post(f"{path}feedback/", {"kind": "unhelpful"}, headers={"HX-Request": "true"})
        assert "noted as not helpful" in words(response)
        assert Interaction.objects.get().kind == "unhelpful"
        assert client.post(f"{path}feedback/", {"kind": "opened"}).status_code == 400

    def test_it_is_offered_again(self, as_user, bob: User, alice: User, path: str) -> None:
        assert QUESTION in words(as_user(bob).get("/"))
        assert QUESTION not in words(as_user(alice).get("/"))


def test_an_answer_that_does_not_exist_is_not_found(as_user, bob: User) -> None:
    assert as_user(bob).get(f"/answers/{uuid4()}/").status_code == 404


class TestSearch:
    def test_finds_passages_and_marks_words(self, as_user, bob: User, charlie: User, bees: Document) -> None:
        html = as_user(bob).get("/search/", {"q": "dancing bees"}).content.decode()
        assert "<mark>dance</mark>" in html
        assert "&lt;b&gt;" in html or "<b>direction" not in html
        way = re.search(rf'href="(/search/\S+/results/1/\?document={bees.pk}&amp;\S+)"', html)
        assert way is not None
        opened = as_user(bob).get(way[1].replace("&amp;", "&"))
        assert re.fullmatch(
            rf"/documents/{bees.pk}/\?start=\d+&end=\d+&revision=1#passage", opened["Location"]
        )
        noted = Interaction.objects.get()
        assert (noted.query, noted.user, noted.kind, noted.marker) == (Query.objects.get(), bob, "opened", 1)
        assert as_user(charlie).get(way[1].replace("&amp;", "&")).status_code == 404, "another one's search"
        assert as_user(bob).get(way[1].split("?")[0]).status_code == 404
        assert Interaction.objects.count() == 1

    def test_charlie_finds_nothing(self, as_user, charlie: User, bees: Document) -> None:
        said = words(as_user(charlie).get("/search/", {"q": "dancing bees"}))
        assert "direction" not in said
        assert "waggle" not in said

    def test_no_result_is_said(
        self, as_user, bob: User, bees: Document, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        delete_document(bees.collection.owner, bees)
        assert "There are no documents yet" in words(as_user(bob).get("/search/?q=bees"))

    @pytest.mark.parametrize(("query", "status", "message"), [
        ({"q": ""}, 400, "There is no question"),
        ({"q": "x" * 100_000}, 400, "at most 2,000"),
        ({"q": "bees", "collection": "secret"}, 404, "There is no collection secret"),
    ])  # fmt: skip
    def test_a_bad_query_is_refused_in_words(
        self, as_user, bob: User, bees: Document, query: dict[str, str], status: int, message: str
    ) -> None:
        response = as_user(bob).get("/search/", query)
        assert response.status_code == status
        assert message in words(response)

    def test_a_query_is_data(self, as_user, bob: User, bees: Document) -> None:
        html = as_user(bob).get("/search/", {"q": '"><script>alert(1)</script>'}).content.decode()
        assert "<script>alert" not in html

    def test_searching_is_recorded(self, as_user, bob: User, bees: Document) -> None:
        as_user(bob).get("/search/?q=bees")
        assert (Query.objects.get().kind, Query.objects.get().user) == ("search", bob)


def test_the_search_page_says_what_it_corrected(as_user, bob: User, bees: Document) -> None:
    page = as_user(bob).get("/search/", {"q": "wagle dance"})
    said = words(page)
    assert "Showing results for waggle" in said
    assert "Search for “wagle dance” instead" in said
    assert 'href="/search/?q=wagle+dance&amp;as_typed=on"' in page.content.decode()
    assert "Showing results" not in words(
        as_user(bob).get("/search/", {"q": "wagle dance", "as_typed": "on"})
    )
