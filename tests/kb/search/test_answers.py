"""Answers are stored with footnotes that keep pointing at their words, for those who may see them."""

import pytest
from django.core.files.base import ContentFile

from kb.core.models import Collection, User
from kb.documents.actions import delete_document, replace_document
from kb.indexes.models import Index
from kb.search import answers
from kb.search.answers import Completed, Started, ask, shown_to
from kb.search.models import Answer, Citation, Query
from kb.search.redaction import REMOVED, claims, redacted
from retrieval.answering import AnswerFailed, Cited, Finished, TextDelta
from tests.conftest import ingest, work_off

pytestmark = pytest.mark.django_db(transaction=True)

BREAD = "Bread is baked from flour, water and salt. It rests for two hours before baking."
WINE = "Wine is pressed from grapes in autumn. It ferments for two weeks in vats."


class Quoting:
    """A scripted answerer: says one sentence of each of the first two passages."""

    def answer(self, question: str, passages: list) -> object:
        cited = []
        for number, passage in enumerate(passages[:2], 1):
            end = passage.text.index(".") + 1
            cited.append(Cited(number, passage, passage.start, passage.start + end, passage.text[:end]))
            yield cited[-1]
            yield TextDelta(f"{passage.text[:end]} [{number}] ")
        text = "".join(f"{cite.quote} [{cite.marker}] " for cite in cited)
        yield Finished(text, tuple(cited), declined=False, model="scripted")


class Failing:
    def answer(self, question: str, passages: object) -> object:
        yield TextDelta("Half of an ")
        raise AnswerFailed("unreachable", "The language model does not answer: check LLM_BASE_URL.")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "answerer", lambda results: Quoting())


@pytest.fixture
def cellar(alice: User, index: Index) -> Collection:
    return Collection.objects.create(name="Cellar", slug="cellar", owner=alice, visibility="signed_in")


@pytest.fixture
def answer(alice: User, collection: Collection, cellar: Collection, scripted: None) -> Answer:
    """Rests on one document in Alice's papers and one that everyone may read."""
    ingest(alice, collection, "bread.txt", BREAD)
    ingest(alice, cellar, "wine.txt", WINE)
    *_, last = ask(alice, "What are bread and wine made of?")
    assert isinstance(last, Completed)
    return last.answer


def test_events_come_in_order_and_the_answer_is_stored(
    alice: User, collection: Collection, index: Index, scripted: None
) -> None:
    ingest(alice, collection, "bread.txt", BREAD)
    events = list(ask(alice, "What is bread made of?"))
    assert [type(event) for event in events] == [Started, Cited, TextDelta, Completed]
    stored = Answer.objects.get()
    assert (stored.state, stored.query.user, stored.query.kind) == ("answered", alice, Query.Kind.ASK)
    assert stored.text.startswith("Bread is baked")


def test_a_footnote_names_the_page_that_its_quote_stands_on(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = ingest(alice, collection, "bread.txt", BREAD)
    second = BREAD.index("It rests")
    document.current.pages = [[1, 0, second], [2, second, len(BREAD)]]
    document.current.save()

    class QuotingTheSecondSentence:
        def answer(self, question: str, passages: list) -> object:
            cited = Cited(1, passages[0], second, len(BREAD), BREAD[second:])
            yield cited
            yield Finished(f"{cited.quote} [1]", (cited,), declined=False, model="scripted")

    monkeypatch.setattr(answers, "answerer", lambda results: QuotingTheSecondSentence())
    events = list(ask(alice, "How long does bread rest?"))
    assert [event.passage.page for event in events if isinstance(event, Cited)] == [2]
    assert Citation.objects.get().page == 2


def check_footnotes(answer: Answer) -> None:
    for citation in answer.citations.select_related("revision"):
        assert citation.revision.text[citation.start : citation.end] == citation.quote


def test_invariant_7_a_footnote_survives_replacement(alice: User, answer: Answer) -> None:
    check_footnotes(answer)
    bread = answer.citations.get(quote__startswith="Bread").document
    replace_document(alice, bread, ContentFile(b"Cake is made of eggs.", "bread.txt"))
    work_off()
    check_footnotes(answer)
    shown = shown_to(alice, answer)
    assert all(citation.visible for citation in shown.citations)
    assert "Bread is baked" in shown.text


def test_invariant_7_a_deleted_document_takes_quote_and_words_along(alice: User, answer: Answer) -> None:
    bread = answer.citations.get(quote__startswith="Bread").document
    delete_document(alice, bread)
    stored = Answer.objects.get(pk=answer.pk)
    shown = shown_to(alice, stored)
    for text in (shown.text, stored.text, *stored.citations.values_list("quote", flat=True)):
        assert "Bread" not in text
    assert "Wine is pressed" in shown.text
    assert REMOVED in shown.text
    assert [citation.visible for citation in shown.citations].count(False) == 1


def test_invariant_7_a_lost_permission_hides_quote_and_words(
    alice: User, charlie: User, answer: Answer
) -> None:
    shown = shown_to(charlie, answer)
    assert "Bread" not in shown.text
    assert "Wine is pressed" in shown.text
    hidden = next(citation for citation in shown.citations if not citation.visible)
    assert (hidden.quote, hidden.title, hidden.document_id) == ("", "", None)
    assert "Bread" in shown_to(alice, answer).text


class Rambling:
    """Cites the first passage, and says something of the second without a marker."""

    def answer(self, question: str, passages: list) -> object:
        cited = Cited(1, passages[0], passages[0].start, passages[0].start + 4, passages[0].text[:4])
        yield cited
        text = f"{cited.quote} [1] And {passages[1].text[:12]} too."
        yield TextDelta(text)
        yield Finished(text, (cited,), declined=False, model="scripted")


def test_invariant_7_words_without_a_marker_go_with_any_source(
    alice: User, charlie: User, collection: Collection, cellar: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was given but not cited may be what they were built on."""
    ingest(alice, cellar, "wine.txt", WINE)
    ingest(alice, collection, "bread.txt", BREAD)
    monkeypatch.setattr(answers, "answerer", lambda results: Rambling())
    *_, last = ask(alice, "What is wine pressed from?")
    assert "Bread" in shown_to(alice, last.answer).text
    assert shown_to(charlie, last.answer).text == f"{WINE[:4]} [1] {REMOVED}"
    delete_document(alice, collection.documents.get())
    stored = Answer.objects.get()
    assert stored.text == shown_to(alice, stored).text == f"{WINE[:4]} [1] {REMOVED}"


class Uncited:
    def answer(self, question: str, passages: list) -> object:
        yield TextDelta("I know it all by myself.")
        yield Finished("I know it all by myself.", (), declined=False, model="scripted")


def test_an_answer_without_a_source_is_not_kept(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(alice, collection, "bread.txt", BREAD)
    monkeypatch.setattr(answers, "answerer", lambda results: Uncited())
    *_, last = ask(alice, "What is bread made of?")
    stored = Answer.objects.get()
    assert (stored.state, stored.text, stored.error) == ("declined", "", answers.UNCITED)
    assert [passage.title for passage in last.closest] == ["bread"]


def test_a_reader_who_leaves_ends_the_answer(
    alice: User, collection: Collection, index: Index, scripted: None
) -> None:
    ingest(alice, collection, "bread.txt", BREAD)
    events = ask(alice, "What is bread made of?")
    next(events)
    next(events)
    events.close()
    assert Answer.objects.get().state == Answer.State.CANCELLED


def test_an_answer_cut_short_keeps_no_words_that_no_footnote_answers_for(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = ingest(alice, collection, "bread.txt", BREAD)

    class Rambling:
        def answer(self, question: str, passages: list) -> object:
            quote = passages[0].text[: BREAD.index(".") + 1]
            yield Cited(1, passages[0], 0, len(quote), quote)
            yield TextDelta(f"{quote} [1] ")
            yield TextDelta("It rests for two")
            yield TextDelta(" hours")

    monkeypatch.setattr(answers, "answerer", lambda results: Rambling())
    events = ask(alice, "What is bread made of?")
    for _ in range(4):
        next(events)
    events.close()
    stored = Answer.objects.get()
    assert stored.text.strip() == "Bread is baked from flour, water and salt. [1]"
    delete_document(alice, document)
    stored.refresh_from_db()
    assert stored.text == REMOVED


def test_showing_an_answer_takes_no_query_per_footnote(
    alice: User, answer: Answer, django_assert_num_queries: object
) -> None:
    assert answer.citations.count() == 2
    with django_assert_num_queries(3):
        shown_to(alice, answer)


def test_a_failing_model_is_told(
    alice: User, collection: Collection, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(alice, collection, "bread.txt", BREAD)
    monkeypatch.setattr(answers, "answerer", lambda results: Failing())
    *_, last = ask(alice, "What is bread made of?")
    assert (last.answer.state, last.answer.error) == (
        "failed",
        "The language model does not answer: check LLM_BASE_URL.",
    )


def test_the_quoting_answerer_quotes(alice: User, collection: Collection, index: Index) -> None:
    ingest(alice, collection, "bread.txt", BREAD)
    *_, last = ask(alice, "What is bread baked from?")
    assert last.answer.state == Answer.State.ANSWERED
    assert "flour, water and salt" in last.answer.text
    check_footnotes(last.answer)


def test_unrelated_questions_are_declined(alice: User, collection: Collection, index: Index) -> None:
    ingest(alice, collection, "bread.txt", BREAD)
    *_, last = ask(alice, "Who won the chess tournament of Zurich?")
    assert last.answer.state == Answer.State.DECLINED
    assert not Citation.objects.exists()


@pytest.mark.parametrize(
    ("text", "allowed", "expected"),
    [
        ("One. [1] Two. [2]", {1, 2}, "One. [1] Two. [2]"),
        ("One. [1] Two. [2]", {2}, f"{REMOVED} Two. [2]"),
        ("One. [1] Two. [2]", set(), REMOVED),
        ("One and two. [1][2] Three. [3]", {1, 3}, f"{REMOVED} Three. [3]"),
        ("One. [1] A rest without a marker.", {2}, REMOVED),
        ("One. [1] A rest without a marker.", {1}, f"One. [1] {REMOVED}"),
    ],
)
def test_redaction_keeps_only_what_rests_on_allowed_sources(
    text: str, allowed: set[int], expected: str
) -> None:
    assert redacted(text, allowed) == expected


def test_claims_joined_are_the_answer() -> None:
    text = "One. [1][2]\n\nTwo `x[3]` three. [4] Rest"
    assert "".join(claim.text for claim in claims(text)) == text
    assert [claim.markers for claim in claims(text)] == [(1, 2), (4,), ()]
