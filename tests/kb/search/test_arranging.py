"""From hits to passages: each step of a profile, on stored documents."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from kb.core.models import Collection, User
from kb.documents.models import Chunk, Document, DocumentRevision
from kb.indexes.models import Index
from kb.search import arranging
from kb.search.arranging import arranged, common, within
from kb.search.engine import search
from kb.search.models import RetrievalProfile
from kb.search.profiles import default_profile, revise_profile
from retrieval.evidence import Passage
from retrieval.reranking import NotReranked
from tests.conftest import ingest

pytestmark = pytest.mark.django_db(transaction=True)

BREAD = "Bread is baked from flour, water and salt, and it needs an oven that is hot."
WORDS = ["river", "stone", "cloud", "amber", "lantern", "meadow", "copper", "violin", "harbour", "thistle"]


def sentence(number: int) -> str:
    picked = [WORDS[(number * step + step) % len(WORDS)] for step in range(1, 8)]
    return f"Paragraph {number} tells of the {' and the '.join(picked)} near the old mill."


def essay(first: int = 0, count: int = 60) -> str:
    return "\n\n".join(sentence(number) for number in range(first, first + count))


def copy(number: int) -> str:
    """Another file with the same words: an identical one would be the same document."""
    return BREAD + "\n" * number


@pytest.fixture
def profile(alice: User, index: Index) -> Callable[..., RetrievalProfile]:
    """Makes the default profile's next version, with these settings."""

    def made(**settings: object) -> RetrievalProfile:
        draft = default_profile()
        for name, value in settings.items():
            setattr(draft, name, value)
        return revise_profile(alice, draft)

    return made


class TestDuplicates:
    def test_identical_passages_stand_once_with_a_count(
        self, alice: User, collection: Collection, profile
    ) -> None:
        for number, name in enumerate(("one", "two", "three")):
            ingest(alice, collection, f"{name}.txt", copy(number))
        ingest(alice, collection, "cake.txt", "Cake is baked from flour and sugar; bread is not.")
        found = search(alice, "How is bread baked?").passages
        assert [len(passage.duplicates) for passage in found] in ([2, 0], [0, 2])
        same = next(passage for passage in found if passage.duplicates)
        titles = {same.title, *(one.title for one in same.duplicates)}
        assert titles == {"one", "two", "three"}

    def test_they_may_be_shown_all(self, alice: User, collection: Collection, profile) -> None:
        profile(collapse_duplicates=False)
        for number, name in enumerate(("one", "two")):
            ingest(alice, collection, f"{name}.txt", copy(number))
        found = search(alice, "bread").passages
        assert [(len(passage.duplicates), passage.text) for passage in found] == [(0, BREAD), (0, BREAD)]

    def test_what_was_collapsed_makes_room_for_others(
        self, alice: User, collection: Collection, profile
    ) -> None:
        for number in range(6):
            ingest(alice, collection, f"copy{number}.txt", copy(number))
        ingest(alice, collection, "cake.txt", "A cake is baked from sugar.")
        found = search(alice, "bread baked from flour", limit=2).passages
        assert [len(passage.duplicates) for passage in found] == [5, 0]

    def test_a_copy_in_a_closed_collection_is_not_counted(
        self, alice: User, bob: User, collection: Collection, profile
    ) -> None:
        own = Collection.objects.create(name="Own", slug="own", owner=alice)
        ingest(alice, collection, "shared.txt", BREAD)
        ingest(alice, own, "private.txt", BREAD)
        assert [len(p.duplicates) for p in search(alice, "bread").passages] == [1]
        assert [(p.title, len(p.duplicates)) for p in search(bob, "bread").passages] == [("shared", 0)]


class TestJoining:
    def test_hits_that_follow_each_other_are_one_passage(
        self, alice: User, collection: Collection, profile
    ) -> None:
        document = ingest(alice, collection, "essay.txt", essay())
        chunks = list(Chunk.objects.filter(document=document).order_by("ordinal"))
        assert len(chunks) > 4
        results = search(alice, "old mill", limit=50)
        covered = [chunk for passage in results.passages for chunk in passage.chunk_ids]
        assert sorted(covered) == [chunk.pk for chunk in chunks]
        assert len(results.passages) < len(chunks)
        for passage in results.passages:
            assert document.current.text[passage.start :].startswith(passage.text)
            assert passage.tokens <= 800
            assert passage.chunk_id in passage.chunk_ids

    def test_they_may_stay_apart(self, alice: User, collection: Collection, profile) -> None:
        profile(merge_adjacent=False)
        document = ingest(alice, collection, "essay.txt", essay())
        found = search(alice, "old mill", limit=50).passages
        assert {passage.chunk_id for passage in found} == set(document.chunks.values_list("pk", flat=True))
        assert all(passage.chunk_ids == (passage.chunk_id,) for passage in found)

    def test_an_answer_reads_them_apart(self, alice: User, collection: Collection, profile) -> None:
        ingest(alice, collection, "essay.txt", essay())
        found = search(alice, "old mill", limit=50, kind="ask").passages
        assert all(passage.chunk_ids == (passage.chunk_id,) for passage in found)

    def test_offsets_count_characters_not_bytes(self, alice: User, collection: Collection, profile) -> None:
        text = essay().replace("mill", "Mühle 🙂 磨坊")
        document = ingest(alice, collection, "umlauts.txt", text)
        found = search(alice, "Mühle", limit=3).passages
        assert any(len(passage.chunk_ids) > 1 for passage in found)
        for passage in found:
            assert document.current.text[passage.start :].startswith(passage.text)


class TestWidening:
    TEXT = (
        f"# Alpha\n\n{essay(0, 12)}\n\n# Beta\n\n{essay(20, 12)}\n\nThe zebra sleeps.\n\n"
        f"# Gamma\n\n{essay(40, 12)}\n"
    )

    def test_a_hit_shows_its_section_and_no_other(self, alice: User, collection: Collection, profile) -> None:
        document = ingest(alice, collection, "book.md", self.TEXT)
        profile(merge_adjacent=False, candidates=1)
        (narrow,) = search(alice, "zebra", limit=1).passages
        profile(merge_adjacent=False, widen_to_section=True)
        (wide,) = search(alice, "zebra", limit=1).passages
        assert narrow.chunk_id == wide.chunk_id
        assert len(wide.text) > len(narrow.text)
        assert document.current.text[wide.start :].startswith(wide.text)
        assert "Paragraph 20" in wide.text
        assert "Paragraph 40" not in wide.text
        assert wide.heading_path == narrow.heading_path
        assert wide.tokens <= 800


def test_a_documents_passages_stand_together(alice: User, collection: Collection, profile) -> None:
    profile(group_by_document=True, merge_adjacent=False)
    for name in ("one", "two"):
        ingest(alice, collection, f"{name}.txt", essay(0 if name == "one" else 100, 30))
    names = [passage.document_id for passage in search(alice, "old mill amber", limit=12).passages]
    assert len(set(names)) == 2
    assert names == sorted(names, key=names.index), "none stands between those of another"


def test_a_title_counts_more_where_wanted(alice: User, collection: Collection, profile) -> None:
    ingest(alice, collection, "notes.txt", "Bread and bread again: bread is baked with salt.")
    ingest(alice, collection, "Bread.txt", "It is baked with salt, some say, and with water from the well.")
    plain = search(alice, "bread", explain=True).passages
    assert [passage.title for passage in plain] == ["notes", "Bread"]
    assert plain[0].explanation.boosts == ()
    profile(title_boost=2.0)
    found = search(alice, "bread", explain=True).passages
    assert [passage.title for passage in found] == ["Bread", "notes"]
    assert found[0].explanation.boosts == (("title", 3.0),)
    assert found[0].score == pytest.approx(found[0].explanation.fused * 3)


def test_what_is_new_counts_more_where_wanted(alice: User, collection: Collection, profile) -> None:
    for name in ("old", "new"):
        ingest(alice, collection, f"{name}.txt", f"Bread is baked from flour, says the {name} one.")
    age = timezone.now() - timedelta(days=100)
    DocumentRevision.objects.filter(document__title="old").update(written_at=age)
    profile(recency_boost=1.0, recency_days=100)
    found = search(alice, "bread", explain=True).passages
    assert [passage.title for passage in found] == ["new", "old"]
    factors = [dict(passage.explanation.boosts)["recency"] for passage in found]
    assert factors == pytest.approx([2.0, 1.5], abs=0.01)


def test_variety_puts_another_subject_before_a_repetition(
    alice: User, collection: Collection, profile
) -> None:
    ingest(alice, collection, "a.txt", "Bread is baked from flour and water in an oven.")
    ingest(alice, collection, "b.txt", "Bread is baked from flour and water in an oven, too, he said.")
    ingest(alice, collection, "c.txt", "Sailors ate bread with worms on the ocean.")
    question = "bread baked from flour and water"
    assert search(alice, question).passages[-1].title == "c"
    profile(diversity=0.4)
    assert search(alice, question).passages[1].title == "c"


class Backwards:
    """A reranker that likes what stands last."""

    asked: list[tuple[str, list[str], float]]

    def __init__(self) -> None:
        self.asked = []

    def scores(self, question: str, texts: list[str], milliseconds: float) -> np.ndarray:
        self.asked.append((question, texts, milliseconds))
        return np.arange(len(texts), dtype=float)


class Refusing:
    def scores(self, question: str, texts: list[str], milliseconds: float) -> np.ndarray:
        raise NotReranked("Reranking would have taken longer than 200 ms.")


class TestReranking:
    @pytest.fixture
    def documents(
        self, alice: User, collection: Collection, profile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(arranging, "reranker", lambda model: Backwards())
        profile(reranker="some-model", rerank_candidates=2)
        for name, text in (
            ("a", "bread bread bread"),
            ("b", "bread and butter"),
            ("c", "flour, not bread, he said"),
        ):
            ingest(alice, collection, f"{name}.txt", text)

    def test_the_best_stand_in_its_order_and_the_others_behind(
        self, alice: User, documents: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(arranging, "reranker", lambda model: Refusing())
        plain = [passage.title for passage in search(alice, "bread").passages]
        model = Backwards()
        monkeypatch.setattr(arranging, "reranker", lambda name: model)
        results = search(alice, "bread", explain=True)
        assert [passage.title for passage in results.passages] == [plain[1], plain[0], plain[2]]
        assert [passage.explanation.reranked for passage in results.passages] == [1.0, 0.0, None]
        [(question, texts, budget)] = model.asked
        assert (question, len(texts), budget) == ("bread", 2, 200)
        assert texts[0].startswith(plain[0]), "title first, as the indexes read it"
        assert "rerank" in results.query.stages
        assert results.notes == ()

    def test_it_has_no_longer_than_the_search_has(
        self, alice: User, documents: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = Backwards()
        monkeypatch.setattr(arranging, "reranker", lambda name: model)
        monkeypatch.setattr(arranging.deadlines, "spare", lambda: 0.03)
        search(alice, "bread")
        [(_, _, budget)] = model.asked
        assert budget == 30

    def test_what_was_left_out_is_said(
        self, alice: User, documents: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(arranging, "reranker", lambda model: Refusing())
        results = search(alice, "bread")
        assert len(results.passages) == 3
        (note,) = results.notes
        assert "longer than 200 ms" in note


def test_what_went_between_search_and_reading_is_left_out(
    alice: User, collection: Collection, profile
) -> None:
    ingest(alice, collection, "bread.txt", BREAD)
    hits = search(alice, "bread")
    Document.objects.all().delete()
    (passage,) = hits.passages
    hit = arranging.Hit(passage.chunk_id, 1.0, None, None)
    assert arranged(alice, "bread", [hit], default_profile(), 5).passages == ()


def test_the_headings_that_all_are_under() -> None:
    assert common([("A", "B"), ("A", "C"), ("A",)]) == ("A",)
    assert common([("A", "B")]) == ("A", "B")
    assert common([("A",), ("B",)]) == ()


def test_the_context_ends_at_its_budget_but_never_before_the_first() -> None:
    one = Passage(1, "d", "t", (), "text", 0, None, 1.0, tokens=60)
    passages = [one, replace(one, chunk_id=2, tokens=30), replace(one, chunk_id=3, tokens=30)]
    assert within(passages, 100) == tuple(passages[:2])
    assert within(passages, 10) == (one,)
    assert within([], 10) == ()
