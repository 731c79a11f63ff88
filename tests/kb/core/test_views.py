"""Signing in, invitations, keys, and the settings and members of collections."""

import re

import pytest
from django.core import mail

from kb.core import keys
from kb.core.actions import invite
from kb.core.models import APIKey, Collection, Membership, User

pytestmark = pytest.mark.django_db


def words(response) -> str:
    """What the page says, without tags and with single spaces."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_sign_in_leads_to_the_page_that_was_wanted(as_user, alice: User) -> None:
    client = as_user()
    response = client.get("/upload/")
    assert (response.status_code, response["Location"]) == (302, "/login/?next=/upload/")
    response = client.post("/login/", {"username": "alice", "password": "alice-password", "next": "/upload/"})
    assert response["Location"] == "/upload/"


def test_sign_in_does_not_lead_elsewhere(as_user, alice: User) -> None:
    form = {"username": "alice", "password": "alice-password", "next": "https://elsewhere.example/"}
    assert as_user().post("/login/", form)["Location"] == "/"


def test_too_many_failures_lock_the_account_for_this_address(as_user, alice: User) -> None:
    client = as_user()
    for _ in range(8):
        response = client.post("/login/", {"username": "alice", "password": "wrong"})
    assert response.status_code == 429
    assert "closed to this address for 15 minutes" in words(response)
    response = client.post("/login/", {"username": "alice", "password": "alice-password"})
    assert response.status_code == 429


def test_password_reset_by_mail(as_user, alice: User, settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    client = as_user()
    sent = client.post("/password/reset/", {"email": "alice@example.org"}, headers={"host": "evil.example"})
    assert sent["Location"] == "/password/reset/sent/"
    assert "evil.example" not in mail.outbox[0].body
    link = re.search(rf"(?<={settings.SITE_URL})/password/reset/\S+", mail.outbox[0].body)
    assert link is not None
    form = client.get(link[0])["Location"]
    new = {"new_password1": "tulips-in-march", "new_password2": "tulips-in-march"}
    assert client.post(form, new)["Location"] == "/password/reset/done/"
    alice.refresh_from_db()
    assert alice.check_password("tulips-in-march")
    assert "used already" in words(client.get(link[0]))


def test_password_reset_does_not_tell_who_has_an_account(as_user, db: None) -> None:
    response = as_user().post("/password/reset/", {"email": "nobody@example.org"})
    assert response["Location"] == "/password/reset/sent/"
    assert mail.outbox == []


class TestInvitation:
    @pytest.fixture
    def link(self, admin: User) -> str:
        return invite(admin, "dora@example.org")[1]

    def test_makes_the_account_and_signs_in(self, as_user, link: str) -> None:
        client = as_user()
        assert "dora@example.org" in words(client.get(link))
        form = {"username": "dora", "password": "tulips-in-march", "again": "tulips-in-march"}
        assert client.post(link, form)["Location"] == "/"
        assert "dora" in words(client.get("/account/"))

    def test_works_once(self, as_user, link: str) -> None:
        form = {"username": "dora", "password": "tulips-in-march", "again": "tulips-in-march"}
        as_user().post(link, form)
        response = as_user().get(link)
        assert response.status_code == 404
        assert "This invitation is closed" in words(response)

    @pytest.mark.parametrize(("form", "message"), [
        ({"username": "", "password": "tulips-in-march", "again": "tulips-in-march"}, "This field is required"),
        ({"username": "ROOT", "password": "tulips-in-march", "again": "tulips-in-march"}, "name is taken"),
        ({"username": "dora", "password": "12345", "again": "12345"}, "too short"),
        ({"username": "dora", "password": "tulips-in-march", "again": "tulips"}, "The two passwords differ"),
    ])  # fmt: skip
    def test_says_what_is_wrong(self, as_user, link: str, form: dict[str, str], message: str) -> None:
        response = as_user().post(link, form)
        assert response.status_code == 400
        assert message in words(response)
        assert not User.objects.filter(username="dora").exists()


class TestKeys:
    def test_the_secret_is_shown_once(self, as_user, alice: User) -> None:
        client = as_user(alice)
        response = client.post("/account/", {"name": "robot", "scopes": ["read", "ask"], "lifetime": "30"})
        secret = re.search(r"fn_[\w-]+", response.content.decode())
        assert secret is not None
        key = keys.usable(secret[0])
        assert key is not None
        assert (key.owner, key.scopes) == (alice, ["ask", "read"])
        assert key.expires_at is not None
        assert secret[0] not in client.get("/account/").content.decode()
        assert "no-store" in response["Cache-Control"]

    def test_every_scope_can_be_chosen(self, as_user, alice: User) -> None:
        form = {"name": "robot", "scopes": APIKey.Scope.values, "lifetime": "30"}
        page = words(as_user(alice).post("/account/", form))
        assert "Create, change and delete collections, and their members" in page
        assert APIKey.objects.get().scopes == ["ask", "manage", "read", "write"]

    def test_without_a_scope_there_is_none(self, as_user, alice: User) -> None:
        response = as_user(alice).post("/account/", {"name": "robot", "lifetime": ""})
        assert response.status_code == 400
        assert "may do nothing" in words(response)
        assert not APIKey.objects.exists()

    def test_revoking_is_for_the_owner(self, as_user, alice: User, charlie: User) -> None:
        as_user(alice).post("/account/", {"name": "robot", "scopes": ["read"], "lifetime": ""})
        key = APIKey.objects.get()
        assert as_user(charlie).post(f"/account/keys/{key.pk}/revoke/").status_code == 404
        assert "robot" not in words(as_user(charlie).get("/account/"))
        as_user(alice).post(f"/account/keys/{key.pk}/revoke/")
        key.refresh_from_db()
        assert key.revoked_at is not None


OWNERS_PAGES = [
    "/collections/papers/settings/",
    "/collections/papers/delete/",
    "/collections/papers/members/",
]


@pytest.mark.parametrize("path", OWNERS_PAGES)
class TestOwnersPages:
    def test_alice_owns(self, as_user, alice: User, collection: Collection, path: str) -> None:
        assert as_user(alice).get(path).status_code == 200

    def test_bob_may_know_but_not_change(self, as_user, bob: User, collection: Collection, path: str) -> None:
        for response in (as_user(bob).get(path), as_user(bob).post(path, {"act": "remove"})):
            assert response.status_code == 403
            assert "Only the owner" in words(response)
        assert Collection.objects.filter(pk=collection.pk).exists()

    def test_charlie_finds_nothing(self, as_user, charlie: User, collection: Collection, path: str) -> None:
        for response in (as_user(charlie).get(path), as_user(charlie).post(path)):
            assert response.status_code == 404
            assert "Papers" not in words(response)

    def test_nobody_is_asked_to_sign_in(self, as_user, collection: Collection, path: str) -> None:
        assert as_user().get(path)["Location"] == f"/login/?next={path}"


def test_a_collection_is_made_changed_and_deleted(as_user, alice: User) -> None:
    client = as_user(alice)
    made = client.post(
        "/collections/new/", {"name": "Field notes", "description": "", "visibility": "private"}
    )
    assert made["Location"] == "/library/field-notes/"
    form = {"name": "Notes", "description": "From the field", "visibility": "public"}
    client.post("/collections/field-notes/settings/", form)
    changed = Collection.objects.get(slug="field-notes")
    assert (changed.name, changed.description, changed.visibility) == ("Notes", "From the field", "public")
    assert "This cannot be undone" in words(client.get("/collections/field-notes/delete/"))
    assert client.post("/collections/field-notes/delete/")["Location"] == "/library/"
    assert not Collection.objects.exists()


@pytest.mark.parametrize("form", [
    {"name": "", "visibility": "private"},
    {"name": "x" * 201, "visibility": "private"},
    {"name": "\u200b —", "visibility": "private"},
    {"name": "Notes", "visibility": "everyone"},
])  # fmt: skip
def test_a_bad_collection_is_refused_at_its_field(as_user, alice: User, form: dict[str, str]) -> None:
    response = as_user(alice).post("/collections/new/", form)
    assert response.status_code == 400
    assert 'class="errorlist"' in response.content.decode()
    assert not Collection.objects.exists()


class TestMembers:
    PATH = "/collections/papers/members/"

    @pytest.mark.parametrize("who", ["charlie", "Charlie@Example.org"])
    def test_are_added_by_name_or_address(
        self, as_user, alice: User, charlie: User, collection: Collection, who: str
    ) -> None:
        as_user(alice).post(self.PATH, {"act": "add", "who": who, "role": "editor"})
        assert Membership.objects.get(user=charlie).role == "editor"

    @pytest.mark.parametrize(("who", "message"), [
        ("nobody", "Nobody here has that name"),
        ("alice", "The owner needs no membership"),
        ("", "This field is required"),
    ])  # fmt: skip
    def test_say_whom_they_do_not_take(
        self, as_user, alice: User, collection: Collection, who: str, message: str
    ) -> None:
        response = as_user(alice).post(self.PATH, {"act": "add", "who": who, "role": "reader"})
        assert response.status_code == 400
        assert message in words(response)

    def test_change_roles_and_leave(self, as_user, alice: User, bob: User, collection: Collection) -> None:
        client = as_user(alice)
        client.post(self.PATH, {"act": "change", "user": bob.pk, "role": "editor"})
        assert Membership.objects.get(user=bob).role == "editor"
        client.post(self.PATH, {"act": "remove", "user": bob.pk})
        assert not Membership.objects.exists()

    @pytest.mark.parametrize("user", ["", "x", "99999999", "9" * 30, "9" * 5000])
    def test_a_stranger_is_no_member_to_change(
        self, as_user, alice: User, collection: Collection, user: str
    ) -> None:
        response = as_user(alice).post(self.PATH, {"act": "change", "user": user, "role": "editor"})
        assert response.status_code == 404
