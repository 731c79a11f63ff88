"""The page "Web sources" of a collection, and the admin's: Alice owns, Bob may only read, Charlie is a stranger."""

import pytest
from django.urls import reverse
from django.utils import timezone

from kb.core.models import Heartbeat
from kb.documents.models import Document, Source, WebPage
from kb.documents.source_actions import add_source

PAGE = "/library/papers/sources/"
URL = "https://example.org/guide"
FORM = {"url": URL, "kind": "", "hours": "24", "when_vanished": "keep", "act": "add"}


@pytest.fixture
def source(alice, collection):
    return add_source(alice, collection, "https://example.org/sitemap.xml")


def test_an_empty_page_offers_the_form(as_user, alice, collection):
    response = as_user(alice).get(PAGE)
    assert response.status_code == 200
    assert "Nothing yet" in response.content.decode()


def test_the_collections_page_leads_here_for_whoever_may_edit(as_user, alice, bob, collection):
    assert PAGE in as_user(alice).get("/library/papers/").content.decode()
    assert PAGE not in as_user(bob).get("/library/papers/").content.decode()


def test_add(as_user, alice, collection):
    response = as_user(alice).post(PAGE, FORM, follow=True)
    assert "is fetched now, and looked at every day" in response.content.decode()
    assert Source.objects.get().url == URL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://10.0.0.1/"}, "private network"),
        ({"url": ""}, "required"),
        ({"hours": "0"}, "valid choice"),
        ({"kind": "book"}, "valid choice"),
    ],
)
def test_what_is_refused_is_said_at_its_field(as_user, alice, collection, change, said):
    response = as_user(alice).post(PAGE, FORM | change)
    assert response.status_code == 400
    assert said in response.content.decode()
    assert not Source.objects.exists()


def test_the_list_says_how_each_is_doing(as_user, alice, source):
    pages = [WebPage(source=source, url=f"https://example.org/{n}", origin="x") for n in range(3)]
    pages[1].error = "The server is on fire <b>"
    pages[2].vanished_at, pages[2].error = timezone.now(), "404"
    WebPage.objects.bulk_create(pages)
    Source.objects.update(error="It lists too much", state="failed", last_checked_at=timezone.now())
    body = as_user(alice).get(PAGE).content.decode()
    for said in ("3 pages", "1 failed", "1 gone from there", "It lists too much", "on fire &lt;b&gt;"):
        assert said in body


def test_pause_resume_check_and_remove(as_user, alice, source):
    client = as_user(alice)

    def act(name):
        response = client.post(PAGE, {"act": name, "source": str(source.pk)}, follow=True)
        assert response.status_code == 200
        return response.content.decode()

    assert "is paused" in act("pause")
    assert "resume it first" in act("check")
    assert "goes on" in act("resume")
    assert "is looked at now" in act("check")
    assert "Its documents stay" in act("remove")
    assert not Source.objects.exists()


def test_documents_go_along_only_where_it_is_said(as_user, alice, collection, source):
    document = Document.objects.create(collection=collection, title="Guide", filename="g.html")
    WebPage.objects.create(source=source, url=URL, origin="x", document=document)
    as_user(alice).post(PAGE, {"act": "remove-all", "source": str(source.pk)})
    assert not Document.objects.exists()


@pytest.mark.parametrize("key", ["", "x", "00000000-0000-0000-0000-000000000000"])
def test_a_source_that_is_none(as_user, alice, collection, key):
    assert as_user(alice).post(PAGE, {"act": "pause", "source": key}).status_code == 404


def test_who_may(as_user, bob, charlie, source):
    for method, body in (("get", {}), ("post", FORM), ("post", {"act": "remove", "source": str(source.pk)})):
        statuses = [getattr(as_user(user), method)(PAGE, body).status_code for user in (bob, charlie, None)]
        assert statuses == [403, 404, 302]
    assert Source.objects.count() == 1


def test_the_admin_acts_on_sources(as_user, admin, source):
    lists = reverse("admin:documents_source_changelist")
    client = as_user(admin)
    for action, paused in (("pause", True), ("resume", False)):
        client.post(lists, {"action": action, "_selected_action": [str(source.pk)]})
        source.refresh_from_db()
        assert source.paused is paused
    Source.objects.update(next_at=None)
    client.post(lists, {"action": "look_now", "_selected_action": [str(source.pk)]})
    source.refresh_from_db()
    assert source.next_at is not None


@pytest.mark.parametrize(("outcome", "found"), [("", "abc"), ("fine", "a"), ("failed", "b"), ("gone", "c")])
def test_the_admin_filters_pages_by_outcome(as_user, admin, source, outcome, found):
    WebPage.objects.create(source=source, url="https://example.org/page-a", origin="x")
    WebPage.objects.create(source=source, url="https://example.org/page-b", origin="x", error="no")
    WebPage.objects.create(
        source=source, url="https://example.org/page-c", origin="x", error="no", vanished_at=timezone.now()
    )
    query = {"outcome": outcome, "source__id__exact": str(source.pk)} if outcome else {}
    body = as_user(admin).get(reverse("admin:documents_webpage_changelist"), query).content.decode()
    assert [letter for letter in "abc" if f"page-{letter}" in body] == list(found)


def test_the_admin_shows_staff_what_they_may_feed(as_user, bob, source):
    from django.contrib.auth.models import Permission

    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.filter(codename__in=["view_source", "view_webpage"]))
    body = as_user(bob).get(reverse("admin:documents_source_changelist")).content.decode()
    assert source.url not in body, "Bob may only read the collection"


def test_a_documents_page_says_where_it_is_from_and_whether_it_is_gone(as_user, bob, collection, source):
    document = Document.objects.create(
        collection=collection, title="Guide", filename="g.html", state=Document.State.READY
    )
    page = reverse("document", args=[document.pk])
    assert 'rel="noreferrer nofollow"' not in as_user(bob).get(page).content.decode()
    WebPage.objects.create(source=source, url=URL, origin="x", document=document, checked_at=timezone.now())
    body = as_user(bob).get(page).content.decode()
    assert f'href="{URL}"' in body
    assert "gone from there" not in body
    WebPage.objects.update(vanished_at=timezone.now())
    assert "gone from there since" in as_user(bob).get(page).content.decode()


def test_nobody_fetching_is_said_where_something_is_to_be_fetched(as_user, alice, collection):
    assert "no worker" not in as_user(alice).get(PAGE).content.decode()
    add_source(alice, collection, URL)
    assert "no worker fetches from the web" in as_user(alice).get(PAGE).content.decode()
    Source.objects.update(paused=True)
    assert "no worker" not in as_user(alice).get(PAGE).content.decode()
    Source.objects.update(paused=False)
    Heartbeat.objects.create(worker="fetch@here:1", queue="fetch", pid=1, at=timezone.now())
    assert "no worker" not in as_user(alice).get(PAGE).content.decode()
