"""Judged questions come in by the documents' names and stay with the index."""

import pytest

from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.documents.models import Document
from kb.indexes.models import Index, IndexedCollection
from kb.quality.models import Judgement, Question, QuestionSet
from kb.quality.question_sets import import_beir, judged
from retrieval.beir import Dataset, Entry

pytestmark = pytest.mark.django_db


@pytest.fixture
def documents(collection: Collection, index: Index) -> dict[str, Document]:
    names = {"a.txt": "Apples", "b.txt": "Bridges", "c.txt": "Comets", "d.pdf": "Same", "e.pdf": "Same"}
    return {
        name: Document.objects.create(collection=collection, filename=name, title=title)
        for name, title in names.items()
    }


def dataset(judgements: dict[str, dict[str, int]], **titles: str) -> Dataset:
    queries = {key: f"What of {key}?" for key in judgements}
    return Dataset("tiny", {key: Entry(title, "") for key, title in titles.items()}, queries, judgements)


def test_documents_are_known_by_id_file_name_or_title(
    alice: User, index: Index, documents: dict[str, Document]
) -> None:
    a, b, c = (str(documents[name].pk) for name in ("a.txt", "b.txt", "c.txt"))
    given = {"q1": {a: 2}, "q2": {"b.txt": 1}, "q3": {"c": 1, "4711": 3}, "q4": {"4712": 1}}
    done = import_beir(alice, index, dataset(given, **{"4711": "Apples", "4712": "Same"}))
    assert (done.questions, done.judgements, done.unknown) == (3, 4, ("4712",))
    found = {question.text: question.grades for question in judged(index)}
    assert found == {"What of q1?": {a: 2}, "What of q2?": {b: 1}, "What of q3?": {c: 1, a: 3}}
    assert AuditEntry.objects.filter(verb="import questions", actor=alice).exists()


def test_a_second_import_replaces_the_first_and_leaves_what_was_made_by_hand(
    alice: User, index: Index, documents: dict[str, Document]
) -> None:
    import_beir(alice, index, dataset({"q1": {"a": 1}, "q2": {"b": 1}}), "mine")
    by_hand = Question.objects.create(question_set=QuestionSet.objects.get(), text="By hand?")
    import_beir(alice, index, dataset({"q1": {"c": 1}}), "mine")
    assert QuestionSet.objects.get().name == "mine"
    assert list(Question.objects.values_list("text", flat=True)) == [by_hand.text, "What of q1?"]
    assert Judgement.objects.get().document == documents["c.txt"]


def test_documents_of_another_index_are_not_meant(
    alice: User, collection: Collection, index: Index, documents: dict[str, Document]
) -> None:
    other = Index.objects.create(name="Other", slug="other")
    IndexedCollection.objects.create(collection=collection, index=other)
    with pytest.raises(Problem) as refused:
        import_beir(alice, index, dataset({"q1": {"a": 1}}))
    assert refused.value.code == "no_judgements"
    assert not QuestionSet.objects.exists()
    assert import_beir(alice, other, dataset({"q1": {"a": 1}})).questions == 1


def test_a_question_without_an_answer_is_not_measured(
    alice: User, index: Index, documents: dict[str, Document]
) -> None:
    import_beir(alice, index, dataset({"q1": {"a": 0}, "q2": {"b": 1}}))
    assert [question.text for question in judged(index)] == ["What of q2?"]
    documents["b.txt"].delete()
    assert judged(index) == []
