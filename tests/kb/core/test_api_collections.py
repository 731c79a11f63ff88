"""Collections and members through the API: Alice owns, Bob is a member, Charlie is a stranger."""

import pytest

from kb.core.actions import change_collection
from kb.core.models import Collection, Membership
from kb.core.pagination import encode

COLLECTIONS = "/api/v1/collections"
PAPERS = f"{COLLECTIONS}/papers"
JSON = "application/json"


def slugs(response):
    return [item["slug"] for item in response.json()["items"]]


def test_who_sees_the_collection_in_the_list(as_user, alice, bob, charlie, admin, collection):
    seen = {user: slugs(as_user(user).get(COLLECTIONS)) for user in (alice, bob, charlie, admin, None)}
    assert seen == {alice: ["papers"], bob: ["papers"], charlie: [], admin: ["papers"], None: []}


@pytest.mark.parametrize(
    ("visibility", "statuses"),
    [
        ("private", (200, 404, 404, 404)),
        ("members", (200, 200, 404, 404)),
        ("signed_in", (200, 200, 200, 404)),
        ("public", (200, 200, 200, 200)),
    ],
)
def test_who_gets_the_collection(as_user, alice, bob, charlie, collection, visibility, statuses):
    Collection.objects.update(visibility=visibility)
    got = tuple(as_user(user).get(PAPERS).status_code for user in (alice, bob, charlie, None))
    assert got == statuses


def test_nobody_does_not_learn_user_names(as_user, alice, collection):
    Collection.objects.update(visibility="public")
    assert as_user(alice).get(PAPERS).json()["owner"] == "alice"
    assert as_user().get(PAPERS).json()["owner"] is None


def test_create(as_user, charlie):
    response = as_user(charlie).post(COLLECTIONS, {"name": "My Notes"}, content_type=JSON)
    assert response.status_code == 201
    assert response.json()["slug"] == "my-notes"
    assert Collection.objects.get().owner == charlie


def test_create_needs_an_account(client, db, problem):
    problem(client.post(COLLECTIONS, {"name": "Mine"}, content_type=JSON), 401)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x", "visibility": "everybody"}, "visibility"),
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": ["x"]}, "name"),
    ],
)
def test_create_refuses(as_user, alice, problem, body, field):
    found = problem(as_user(alice).post(COLLECTIONS, body, content_type=JSON), 422, "invalid")
    assert found["errors"][0]["field"].endswith(field)


def test_a_taken_slug_is_a_conflict_and_tells_no_more(as_user, charlie, collection, problem):
    body = {"name": "Other", "slug": "papers"}
    problem(as_user(charlie).post(COLLECTIONS, body, content_type=JSON), 409, "slug_taken")


@pytest.mark.parametrize(
    "body", [{"name": "nul \0"}, {"name": "half \ud800"}, {"name": "x", "slug": "no/slash"}]
)
def test_text_that_cannot_be_stored_is_refused(as_user, alice, problem, body):
    response = as_user(alice).post(COLLECTIONS, body, content_type=JSON)
    assert problem(response, response.status_code)["status"] in {400, 422}


def test_change(as_user, alice, collection):
    response = as_user(alice).patch(PAPERS, {"name": "Articles"}, content_type=JSON)
    assert response.json()["name"] == "Articles"
    collection.refresh_from_db()
    assert (collection.name, collection.slug, collection.visibility) == ("Articles", "papers", "members")


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_who_may_change_and_delete(as_user, bob, charlie, collection, problem, method):
    statuses = {}
    for user in (bob, charlie, None):
        response = getattr(as_user(user), method)(PAPERS, {"name": "Taken"}, content_type=JSON)
        statuses[user] = problem(response, response.status_code)["status"]
    assert statuses == {bob: 403, charlie: 404, None: 401}
    assert Collection.objects.get().name == "Papers"


def test_delete(as_user, alice, collection):
    assert as_user(alice).delete(PAPERS).status_code == 204
    assert not Collection.objects.exists()


def test_members_are_the_owners_to_know(as_user, alice, bob, charlie, collection, problem):
    members = as_user(alice).get(f"{PAPERS}/members").json()["items"]
    assert [(member["username"], member["role"]) for member in members] == [("bob", "reader")]
    problem(as_user(bob).get(f"{PAPERS}/members"), 403)
    problem(as_user(charlie).get(f"{PAPERS}/members"), 404)


def test_add_change_and_remove_a_member(as_user, alice, charlie, collection):
    owner, path = as_user(alice), f"{PAPERS}/members/charlie"
    assert owner.put(path, {}, content_type=JSON).json()["role"] == "reader"
    assert owner.put(path, {"role": "editor"}, content_type=JSON).json()["role"] == "editor"
    assert as_user(charlie).get(PAPERS).status_code == 200
    assert owner.delete(path).status_code == 204
    assert as_user(charlie).get(PAPERS).status_code == 404
    assert Membership.objects.count() == 1


def test_members_cannot_try_out_user_names(as_user, alice, bob, collection, problem):
    for name in ("charlie", "unknown"):
        problem(as_user(bob).put(f"{PAPERS}/members/{name}", {}, content_type=JSON), 403)
    problem(as_user(alice).put(f"{PAPERS}/members/unknown", {}, content_type=JSON), 404)


def walk(client, path, limit):
    cursor, found = "", []
    while cursor is not None:
        body = client.get(path, {"limit": limit, "cursor": cursor} if cursor else {"limit": limit}).json()
        found.append([item["slug"] for item in body["items"]])
        cursor = body["next_cursor"]
    return found


def test_the_cursor_walks_the_whole_list_once(as_user, alice):
    for number in range(7):
        Collection.objects.create(name=f"Same {number // 3}", slug=f"c{number}", owner=alice)
    pages = walk(as_user(alice), COLLECTIONS, 3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [slug for page in pages for slug in page] == [f"c{number}" for number in range(7)]


def test_the_cursor_is_stable_while_rows_come_and_go(as_user, alice):
    for name in ("b", "d", "f"):
        Collection.objects.create(name=name, slug=name, owner=alice)
    client = as_user(alice)
    first = client.get(COLLECTIONS, {"limit": 2}).json()
    Collection.objects.create(name="a", slug="a", owner=alice)
    Collection.objects.filter(slug="d").delete()
    Collection.objects.create(name="e", slug="e", owner=alice)
    assert slugs(client.get(COLLECTIONS, {"cursor": first["next_cursor"]})) == ["e", "f"]


@pytest.mark.parametrize(
    "cursor",
    ["x", "ä", "bm90IGpzb24", "WzFd", "WyIiLCBudWxsXQ", "WyJhIiwgIngiXQ", encode(["a\0", "1"])],
)
def test_a_cursor_that_is_none_is_refused(as_user, alice, problem, cursor):
    problem(as_user(alice).get(COLLECTIONS, {"cursor": cursor}), 400, "invalid_cursor")


@pytest.mark.parametrize("limit", ["0", "-1", "101", "many"])
def test_limits_are_bounded(client, db, problem, limit):
    problem(client.get(COLLECTIONS, {"limit": limit}), 422)


def test_a_change_leaves_alone_what_somebody_else_changed_meanwhile(alice, collection):
    stale = Collection.objects.get(pk=collection.pk)
    change_collection(alice, collection, visibility=Collection.Visibility.PRIVATE)
    change_collection(alice, stale, name="Essays")
    collection.refresh_from_db()
    assert (collection.name, collection.visibility) == ("Essays", Collection.Visibility.PRIVATE)
