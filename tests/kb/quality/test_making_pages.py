"""New versions, indexes, models and moves from the admin: what it takes is said first, and who may begin them."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from kb.core.models import Collection, User
from kb.indexes import model_actions
from kb.indexes.models import CollectionMove, EmbeddingModel, Index, IndexTransition, IndexVersion
from retrieval.embedders import ModelCard
from tests.conftest import ingest
from tests.kb.candidates import candidate

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(admin: User, as_user: Callable[[User], Client]) -> Client:
    return as_user(admin)


def at(name: str, *arguments: object) -> str:
    return reverse(f"admin:indexes_indexversion_{name}", args=arguments)


def words(site: Client, address: str, **said: object) -> str:
    """What the page says after something was sent, wherever that leads."""
    return " ".join(site.post(address, said, follow=True).content.decode().split())


def test_a_build_says_what_it_takes_before_it_begins(
    site: Client, alice: User, admin: User, collection: Collection, index: Index
) -> None:
    ingest(alice, collection, "bread.txt", "Bread is baked from flour, water and salt.")
    address = at("build", index.pk)
    assert "as in Default v1" in site.get(address).content.decode()
    assert 'name="begin"' not in site.get(address).content.decode(), "first what it takes"
    said = words(site, address, storage="vector", estimate=1)
    assert "<strong>1</strong> passages" in said
    assert 'name="begin"' in said
    assert IndexVersion.objects.count() == 1
    assert "Default v2 is being built" in words(site, address, storage="vector", reason="exact", begin=1)
    made = IndexVersion.objects.get(number=2)
    assert (made.storage, made.dimensions, made.state) == ("vector", 384, "building")
    begun = IndexTransition.objects.get(version=made)
    assert (begun.actor, begun.reason) == (admin, "exact")


def test_what_cannot_be_built_is_said_at_its_field(site: Client, index: Index) -> None:
    response = site.post(at("build", index.pk), {"dimensions": 100, "begin": 1})
    assert response.status_code == 400
    assert "was not trained to be cut" in str(response.context["form"].errors["dimensions"])
    assert IndexVersion.objects.count() == 1


def test_an_index_is_made_and_its_move_is_shown(
    site: Client, admin: User, collection: Collection, index: Index
) -> None:
    assert "Archive is made" in words(site, at("index"), slug="archive", name="Archive")
    other = Index.objects.get(slug="archive")
    assert "There is an index" in words(site, at("index"), slug="archive")
    refused = words(site, at("move"), collection=collection.pk, index=other.pk)
    assert "serves nothing yet" in refused
    assert "Say with which model" in site.get(at("build", other.pk)).content.decode()
    live = candidate(index)
    IndexVersion.objects.filter(pk=live.pk).update(index=other, state="live")
    Index.objects.filter(pk=other.pk).update(live_version=live)
    page = words(site, at("move"), collection=collection.pk, index=other.pk)
    assert "Papers is on its way into Archive" in page
    assert "<strong>Papers</strong> is on its way into Archive, since" in page
    assert CollectionMove.objects.get().actor == admin
    assert "Papers is in Default" in words(site, at("move"), collection=collection.pk, index=index.pk)


def test_a_model_is_registered_and_tried(site: Client, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot be used" in words(site, at("model"), name="/nowhere")
    card = ModelCard("m", "1", "ab" * 32, 64, 128, "mean", "q: ", "", "torch", "float32", "MIT")
    seen = []

    def described(new: model_actions.NewModel) -> ModelCard:
        seen.append(new)
        return card

    monkeypatch.setattr(model_actions, "card_of", described)
    said = words(site, at("model"), name="m", matryoshka="32,16", query_prompt="")
    assert "m is registered: 64 dimensions" in said
    assert (seen[0].query_prompt, seen[0].matryoshka) == (None, (32, 16)), "empty: the model's own"
    works, fails = EmbeddingModel.objects.order_by("pk")
    assert "hashing works: 384 dimensions" in words(site, at("try", works.pk))
    assert "m: " in words(site, at("try", fails.pk))
    assert site.get(at("try", works.pk)).status_code == 405


@pytest.mark.parametrize("name", ["build", "index", "move", "model", "try"])
def test_only_administrators_with_all_rights_begin_something(
    as_user: Callable[[User], Client], bob: User, index: Index, name: str
) -> None:
    bob.is_staff = True
    bob.save()
    pk = {"build": [index.pk], "try": [EmbeddingModel.objects.get().pk]}.get(name, [])
    for sent in (as_user(bob).get, as_user(bob).post):
        assert sent(at(name, *pk)).status_code == 403
