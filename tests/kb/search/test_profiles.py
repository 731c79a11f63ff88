"""Retrieval profiles: versions that never change, one default, a choice for those who may."""

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, transaction
from django.urls import reverse

from kb.core import pools
from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.indexes.models import Index
from kb.search import arranging
from kb.search.engine import search
from kb.search.models import Query, RetrievalProfile
from kb.search.profiles import (
    SETTINGS,
    chosen,
    default_profile,
    differences,
    make_default,
    may_choose,
    revise_profile,
    settings_of,
    uses,
)
from retrieval.reranking import NotReranked
from tests.conftest import ingest

pytestmark = pytest.mark.django_db

SEARCH, PROFILES = "/api/v1/search", "/api/v1/retrieval-profiles"
JSON = "application/json"


@pytest.fixture
def curator(bob: User) -> User:
    """May look at the profiles."""
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename="view_retrievalprofile"))
    return User.objects.get(pk=bob.pk)


def revised(actor: User, **settings: object) -> RetrievalProfile:
    draft = default_profile()
    for name, value in settings.items():
        setattr(draft, name, value)
    return revise_profile(actor, draft)


def test_a_changed_profile_is_the_next_version_and_the_old_one_stays(admin: User) -> None:
    before = default_profile()
    kept = settings_of(before)
    made = revised(admin, candidates=50, title_boost=0.5)
    assert (made.name, made.number, made.is_default) == ("Default", 2, True)
    assert default_profile() == made
    before.refresh_from_db()
    assert (settings_of(before), before.is_default) == (kept, False)
    entry = AuditEntry.objects.get(verb="revise profile")
    assert (entry.actor, entry.detail) == (admin, {"candidates": 50, "title_boost": 0.5})


def test_a_row_is_never_saved_again(admin: User) -> None:
    profile = default_profile()
    profile.candidates = 7
    with pytest.raises(TypeError, match="never changes"):
        profile.save()
    profile.refresh_from_db()
    assert profile.candidates == 100


def test_every_setting_belongs_to_the_version() -> None:
    fields = {field.name for field in RetrievalProfile._meta.concrete_fields}
    assert fields - set(SETTINGS) == {"id", "name", "number", "is_default", "created_at"}


@pytest.mark.parametrize(("wrong", "field"), [
    ({"dense_weight": 1.5}, "dense_weight"),
    ({"diversity": -1.0}, "diversity"),
    ({"candidates": 0}, "candidates"),
    ({"strategy": "sum"}, "strategy"),
    ({"context_tokens": 1}, "context_tokens"),
    ({"strategy": "learned"}, "strategy"),
    ({"strategy": "learned", "dense_weight": 0.4, "learned_from": {"weight": 0.5}}, "strategy"),
])  # fmt: skip
def test_settings_that_no_search_can_follow_are_refused(
    admin: User, wrong: dict[str, object], field: str
) -> None:
    default_profile()
    with pytest.raises(Problem) as refused:
        revised(admin, **wrong)
    assert refused.value.extra["field"] == field
    assert RetrievalProfile.objects.count() == 1


@pytest.mark.parametrize("weight", [float("nan"), 2.0])
def test_the_database_holds_no_other_weight_either(weight: float) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        RetrievalProfile.objects.create(name="Odd", dense_weight=weight)


def test_another_default_takes_the_place_of_the_old_one(admin: User) -> None:
    first = default_profile()
    second = revised(admin, dense_weight=0.5)
    make_default(admin, first)
    assert default_profile() == first
    assert RetrievalProfile.objects.filter(is_default=True).count() == 1
    assert AuditEntry.objects.get(verb="make profile default").subject.endswith("(Default 1)")
    second.refresh_from_db()
    assert not second.is_default


def test_who_may_choose(admin: User, curator: User, charlie: User) -> None:
    default_profile()
    second = revised(admin, dense_weight=0.5)
    assert chosen(charlie, "") == second
    assert (may_choose(admin), may_choose(curator), may_choose(charlie)) == (True, True, False)
    with pytest.raises(Problem) as closed:
        chosen(charlie, "Default")
    assert closed.value.status == 403


def test_by_name_the_newest_and_by_number_that_one(admin: User, curator: User) -> None:
    first = default_profile()
    second = revised(admin, dense_weight=0.5)
    assert (chosen(curator, "Default"), chosen(curator, "Default 1")) == (second, first)
    other = RetrievalProfile.objects.create(name="Default 1", number=3)
    assert chosen(curator, "Default 1") == first, "a number comes before a name"
    assert chosen(curator, "Default 1 3") == other
    for name in ("Nothing", "Default 3", "Default ٣", "3", "a\0b", "Default 99999999999"):
        with pytest.raises(Problem) as missing:
            chosen(curator, name)
        assert missing.value.status == 404


@pytest.mark.parametrize("name", ["Default 1", "Words 20", "Words\t7"])
def test_a_name_that_reads_like_a_version_is_refused(admin: User, name: str) -> None:
    with pytest.raises(Problem, match="ends in a number") as refused:
        revise_profile(admin, RetrievalProfile(name=name))
    assert refused.value.extra["field"] == "name"
    RetrievalProfile.objects.create(name=name)
    assert revise_profile(admin, RetrievalProfile(name=name)).number == 2, "one that is there goes on"


class Broken:
    def scores(self, question: str, texts: list[str], milliseconds: float) -> None:
        raise NotReranked("The reranker's model could not be loaded, and the log says why.")


def test_a_reranker_that_does_not_work_never_serves(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = default_profile()
    monkeypatch.setattr(arranging, "reranker", lambda model: Broken())
    beside = revise_profile(admin, RetrievalProfile(name="Slow", reranker="nothing"))
    for attempt in (
        lambda: revised(admin, reranker="nothing"),
        lambda: revise_profile(admin, RetrievalProfile(name="Slow", is_default=True, reranker="nothing")),
        lambda: make_default(admin, beside),
    ):
        with pytest.raises(Problem, match=r"'nothing' cannot serve\..*could not be loaded") as refused:
            attempt()
        assert refused.value.extra["field"] == "reranker"
    assert default_profile() == serving
    assert RetrievalProfile.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_query_is_recorded_while_a_profile_is_changed(admin: User) -> None:
    before = default_profile()
    with transaction.atomic(), psycopg.connect(**pools.parameters()) as other:
        made = revised(admin, candidates=50)
        make_default(admin, made)
        make_default(admin, before)
        other.execute("SET lock_timeout = '500ms'")
        # What the foreign key of a query asks for.
        other.execute("SELECT FROM search_retrievalprofile WHERE id = %s FOR KEY SHARE", [before.pk])


def test_differences_and_uses(admin: User) -> None:
    first = default_profile()
    second = revised(admin, candidates=50, diversity=0.7)
    assert differences(first, second) == [("candidates", 100, 50), ("diversity", 1.0, 0.7)]
    Query.objects.create(text="a", profile=first, results=3, stages={"total": 10.0})
    Query.objects.create(text="b", profile=first, results=0, degraded="words", stages={"total": 30.0})
    one, other = uses([first, second])
    assert (one.queries, one.without_result, one.degraded, one.milliseconds) == (2, 1, 1, 20.0)
    assert (other.queries, other.milliseconds) == (0, None)


class TestAdmin:
    def test_the_form_makes_a_version_and_leaves_out_what_it_is_not_sent(self, as_user, admin: User) -> None:
        profile = default_profile()
        path = reverse("admin:search_retrievalprofile_change", args=[profile.pk])
        assert "Learned" not in as_user(admin).get(path).content.decode()
        sent = {"strategy": "reciprocal_rank", "candidates": "60", "merge_adjacent": "on"}
        assert as_user(admin).post(path, sent).status_code == 302
        made = default_profile()
        assert (made.number, made.strategy, made.candidates) == (2, "reciprocal_rank", 60)
        assert (made.dense_weight, made.merge_adjacent, made.collapse_duplicates) == (0.8, True, False)

    def test_a_profile_is_made_default_by_an_action(self, as_user, admin: User) -> None:
        first = default_profile()
        revised(admin, dense_weight=0.5)
        path = reverse("admin:search_retrievalprofile_changelist")
        both = list(RetrievalProfile.objects.values_list("pk", flat=True))
        as_user(admin).post(path, {"action": "serve", "_selected_action": both})
        assert default_profile() != first, "two cannot both be the default"
        as_user(admin).post(path, {"action": "serve", "_selected_action": [first.pk]})
        assert default_profile() == first

    def test_two_are_compared(self, as_user, admin: User) -> None:
        default_profile()
        revised(admin, dense_weight=0.55)
        path = reverse("admin:search_retrievalprofile_changelist")
        both = list(RetrievalProfile.objects.values_list("pk", flat=True))
        page = as_user(admin).post(path, {"action": "compare", "_selected_action": both})
        said = page.content.decode()
        assert page.status_code == 200
        assert "Default 1 and Default 2" in said
        assert "<td>0.8</td><td>0.55</td>" in said
        alone = as_user(admin).post(path, {"action": "compare", "_selected_action": both[:1]})
        assert alone.status_code == 302


class TestAPI:
    def test_who_reads_them(
        self, as_user, key, client, admin: User, curator: User, charlie: User, problem
    ) -> None:
        default_profile()
        revised(admin, candidates=50)
        rows = as_user(curator).get(PROFILES).json()
        assert [(row["name"], row["number"], row["is_default"], row["candidates"]) for row in rows] == [
            ("Default", 2, True, 50), ("Default", 1, False, 100),
        ]  # fmt: skip
        assert client.get(PROFILES, headers=key(curator, "read")).status_code == 200
        problem(client.get(PROFILES, headers=key(curator, "ask")), 403)
        problem(as_user(charlie).get(PROFILES), 403)
        problem(as_user(None).get(PROFILES), 401)


@pytest.mark.django_db(transaction=True)
class TestChoosing:
    @pytest.fixture
    def bread(self, alice: User, collection: Collection, index: Index) -> None:
        ingest(alice, collection, "bread.txt", "Bread is baked from flour.")

    def test_a_search_uses_and_records_the_profile(
        self, as_user, admin: User, curator: User, bread: None, problem
    ) -> None:
        default_profile()
        revise_profile(admin, RetrievalProfile(name="Words", dense_weight=0.0))
        client = as_user(curator)
        plain = client.post(SEARCH, {"query": "bread"}, JSON).json()
        words = client.post(SEARCH, {"query": "bread", "profile": "Words", "explain": True}, JSON).json()
        assert (plain["profile"], words["profile"]) == ("Default 1", "Words 1")
        assert Query.objects.get(pk=words["query_id"]).profile.name == "Words"
        (passage,) = words["passages"]
        assert passage["explanation"]["dense"]["weight"] == 0
        assert passage["score"] == passage["explanation"]["lexical"]["gives"] == 1.0
        problem(client.post(SEARCH, {"query": "bread", "profile": "Nothing"}, JSON), 404)
        assert client.get(SEARCH, {"q": "bread", "profile": "Words 1"}).json()["profile"] == "Words 1"

    def test_others_may_not_choose(self, as_user, alice: User, bread: None, problem) -> None:
        problem(as_user(alice).post(SEARCH, {"query": "bread", "profile": "Default"}, JSON), 403, "forbidden")

    def test_the_page_offers_them_to_those_who_may(
        self, as_user, admin: User, curator: User, alice: User, bread: None
    ) -> None:
        default_profile()
        revised(admin, dense_weight=0.5)
        assert "Default 1" in as_user(curator).get("/search/", {"q": "bread"}).content.decode()
        assert "Default 1" not in as_user(alice).get("/search/", {"q": "bread"}).content.decode()
        page = as_user(curator).get("/search/", {"q": "bread", "profile": "Default 1"})
        assert page.context["results"].query.profile.number == 1

    def test_grouped_results_name_a_document_once(
        self, as_user, admin: User, alice: User, collection: Collection, bread: None
    ) -> None:
        long = "\n\n".join(f"Paragraph {number}: rye bread number {number} is dark." for number in range(40))
        ingest(alice, collection, "rye.txt", long)
        revised(admin, group_by_document=True, merge_adjacent=False)
        page = as_user(alice).get("/search/", {"q": "rye bread"}).content.decode()
        assert page.count(">rye</a></h2>") == 1
        assert len(search(alice, "rye bread").passages) > 2


@pytest.mark.django_db(transaction=True)
class TestExplaining:
    def test_the_api_says_why_where_it_is_asked(
        self, as_user, alice: User, collection: Collection, index: Index
    ) -> None:
        ingest(alice, collection, "bread.txt", "Bread is baked from flour.")
        plain = as_user(alice).post(SEARCH, {"query": "baked bread"}, JSON).json()["passages"]
        (passage,) = (
            as_user(alice).post(SEARCH, {"query": "baked bread", "explain": True}, JSON).json()["passages"]
        )
        assert plain[0]["explanation"] is None
        why = passage["explanation"]
        assert {term["term"] for term in why["terms"]} == {"bake", "bread"}
        assert sum(term["score"] for term in why["terms"]) == pytest.approx(passage["lexical_score"])
        assert why["dense"]["gives"] + why["lexical"]["gives"] == pytest.approx(passage["score"])
        assert (why["dense"]["rank"], why["lexical"]["rank"], why["reranked"]) == (1, 1, None)

    def test_it_tells_nothing_of_what_the_reader_may_not_see(
        self, as_user, alice: User, bob: User, collection: Collection, index: Index
    ) -> None:
        ingest(alice, collection, "bread.txt", "Bread is baked from flour.")

        def explained() -> object:
            return as_user(bob).post(SEARCH, {"query": "bread", "explain": True}, JSON).json()["passages"]

        before = explained()
        own = Collection.objects.create(name="Own", slug="own", owner=alice)
        for number in range(3):
            ingest(alice, own, f"secret{number}.txt", f"Secret bread number {number}, bread and bread again.")
        assert explained() == before

    def test_the_page_says_why(self, as_user, alice: User, collection: Collection, index: Index) -> None:
        ingest(alice, collection, "bread.txt", "Bread is baked from flour.")
        said = as_user(alice).get("/search/", {"q": "baked bread"}).content.decode()
        assert "Why this?" in said
        assert "<code>bake</code>" in said
        assert "No. 1 by meaning and no. 1 by words." in said
