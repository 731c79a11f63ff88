"""Fills an index's question sets from a labelled collection, and reads them back."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.db import transaction

from kb.core.auditing import record
from kb.core.models import Collection, Reader
from kb.core.problems import Problem
from kb.documents.models import Document
from kb.indexes.models import Index
from kb.indexes.placing import by_index
from kb.quality.models import Judgement, Question, QuestionSet
from retrieval.beir import Dataset


@dataclass(frozen=True)
class Imported:
    """What came of an import; `unknown` judged documents are not in the index, or more than one may be meant."""

    question_set: QuestionSet
    questions: int
    judgements: int
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A question with the grades of documents, which are named by their ids as text."""

    text: str
    grades: Mapping[str, int]


def collections_of(index: Index) -> list[int]:
    return by_index(Collection.objects.order_by("pk").values_list("pk", flat=True)).get(index, [])


def import_beir(actor: Reader | None, index: Index, dataset: Dataset, name: str = "") -> Imported:
    """The judged questions of a collection in BEIR's format, about documents that are in the index.

    A document is known by its id, its file name with or without the ending, or its title. A second import
    under the same name replaces what the first brought. Problem where no judged document is known.
    """
    names = {doc for grades in dataset.judgements.values() for doc in grades}
    titles = {doc: dataset.corpus[doc].title for doc in names if doc in dataset.corpus}
    known = documents_by_name(index, names, titles)
    graded = {
        key: {known[doc]: grade for doc, grade in grades.items() if doc in known}
        for key, grades in dataset.judgements.items()
        if key in dataset.queries
    }
    if not any(graded.values()):
        raise Problem("no_judgements", "None of the judged documents is in the index: add them first.")
    with transaction.atomic():
        question_set, _ = QuestionSet.objects.get_or_create(index=index, name=name or dataset.name)
        question_set.questions.exclude(key="").delete()
        for key, grades in graded.items():
            if grades:
                add(question_set, dataset.queries[key], grades, key)
        done = Imported(
            question_set,
            sum(bool(grades) for grades in graded.values()),
            sum(map(len, graded.values())),
            tuple(sorted(names - known.keys())),
        )
        record(actor, "import questions", question_set, questions=done.questions, judgements=done.judgements)
    return done


def add(question_set: QuestionSet, text: str, grades: Mapping[UUID, int], key: str = "") -> Question:
    question = Question.objects.create(question_set=question_set, text=text, key=key[:100])
    Judgement.objects.bulk_create(
        Judgement(question=question, document_id=document, grade=max(grade, 0))
        for document, grade in grades.items()
    )
    return question


def documents_by_name(index: Index, names: Iterable[str], titles: Mapping[str, str]) -> dict[str, UUID]:
    """The one document of the index that each name means; a name that fits several means none."""
    fits: dict[str, set[UUID]] = defaultdict(set)
    rows = Document.objects.filter(collection__in=collections_of(index)).values_list(
        "pk", "filename", "title"
    )
    for document, filename, title in rows.iterator(2000):
        for called in {str(document), filename, Path(filename).stem, f"title {title}"}:
            fits[called].add(document)
    found = {}
    for name in names:
        wanted = fits.get(name) or fits.get(f"title {titles.get(name) or name}", set())
        if len(wanted) == 1:
            (found[name],) = wanted
    return found


def judged(index: Index) -> list[Judged]:
    """The questions of all the index's sets that a document of it answers, each text once, in a fixed order."""
    rows = Judgement.objects.filter(question__question_set__index=index).order_by("question", "pk")
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for text, document, grade in rows.values_list("question__text", "document", "grade"):
        grades[text][str(document)] = grade
    return [
        Judged(text, given) for text, given in grades.items() if any(grade > 0 for grade in given.values())
    ]
