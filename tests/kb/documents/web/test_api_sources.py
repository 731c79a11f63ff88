"""Sources through the API: Alice owns, Bob may only read, Charlie is a stranger."""

from datetime import timedelta

import pytest
from django.utils import timezone

from kb.core.models import AuditEntry, Membership
from kb.documents.models import Document, Source, WebPage
from kb.documents.source_actions import add_source

JSON = "application/json"
SOURCES = "/api/v1/collections/papers/sources"
URL = "https://example.org/guide"


@pytest.fixture
def source(alice, collection):
    return add_source(alice, collection, URL)


def at(source, end=""):
    return f"{SOURCES}/{source.pk}{end}"


def test_add(as_user, alice, collection):
    response = as_user(alice).post(SOURCES, {"url": " HTTPS://Example.org/guide#x"}, content_type=JSON)
    assert response.status_code == 202
    body = response.json()
    assert (body["url"], body["kind"], body["every_hours"], body["state"]) == (URL, "page", 24.0, "waiting")
    assert (body["pages"], body["failed"], body["vanished"]) == (1, 0, 0)
    source = Source.objects.get()
    assert str(source.pk) == body["id"]
    assert (source.created_by, str(source.upload_id)) == (alice, body["upload"])
    assert source.upload.origin == "web"
    assert AuditEntry.objects.filter(verb="add", actor=alice, detail__kind="page").exists()


@pytest.mark.parametrize(
    ("url", "kind", "other_hosts"),
    [
        ("https://example.org/", "page", False),
        ("https://example.org/sitemap.xml", "sitemap", False),
        ("https://example.org/sitemap_index.xml.gz", "sitemap", False),
        ("https://example.org/blog/feed/", "feed", True),
        ("https://example.org/news.rss?all", "feed", True),
        ("https://example.org/sitemap-of-thoughts", "page", False),
    ],
)
def test_the_kind_is_what_the_address_looks_like(as_user, alice, collection, url, kind, other_hosts):
    body = as_user(alice).post(SOURCES, {"url": url}, content_type=JSON).json()
    assert (body["kind"], body["other_hosts"]) == (kind, other_hosts)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/", "this machine"),
        ("http://[::1]/", "this machine"),
        ("http://169.254.169.254/latest/", "link-local"),
        ("http://10.0.0.1:8080/", "private network"),
        ("http://2130706433/", "plain decimal"),
        ("http://localhost:8000/", "inner network"),
        ("https://user:secret@example.org/", "user name"),
        ("file:///etc/passwd", "http://"),
        ("example.org", "http://"),
        ("", "http://"),
    ],
)
def test_what_is_never_fetched_is_refused_at_once(as_user, alice, collection, problem, url, said):
    found = problem(as_user(alice).post(SOURCES, {"url": url}, content_type=JSON), 422, "bad_address")
    assert said in found["detail"]
    assert not Source.objects.exists()


@pytest.mark.parametrize(
    "body",
    [{}, {"url": URL, "every_hours": 0}, {"url": URL, "kind": "book"}, {"url": URL, "every_hours": 9000},
     {"url": "https://example.org/" + "x" * 2000}, {"url": URL, "when_vanished": "hide"}, {"url": URL, "x": 1}],
)  # fmt: skip
def test_add_refuses(as_user, alice, collection, problem, body):
    problem(as_user(alice).post(SOURCES, body, content_type=JSON), 422)
    assert not Source.objects.exists()


def test_the_same_address_twice_is_a_conflict(as_user, alice, source, problem):
    problem(as_user(alice).post(SOURCES, {"url": URL + "#part"}, content_type=JSON), 409, "known")
    assert Source.objects.count() == 1


def test_list_and_get(as_user, alice, collection, source):
    other = add_source(alice, collection, "https://example.org/sitemap.xml")
    WebPage.objects.create(
        source=other, url="https://example.org/a", error="no", origin="https://example.org"
    )
    WebPage.objects.create(
        source=other, url="https://example.org/b", error="404", vanished_at=timezone.now(), origin=""
    )
    items = as_user(alice).get(SOURCES).json()["items"]
    assert [(item["url"], item["pages"], item["failed"], item["vanished"]) for item in items] == [
        (other.url, 2, 1, 1),
        (URL, 1, 0, 0),
    ]
    assert as_user(alice).get(at(source)).json() == items[1]
    first = as_user(alice).get(SOURCES, {"limit": 1}).json()
    assert as_user(alice).get(SOURCES, {"cursor": first["next_cursor"]}).json()["items"] == items[1:]


def test_pages(as_user, alice, collection):
    source = add_source(alice, collection, "https://example.org/sitemap.xml")
    for number in range(3):
        WebPage.objects.create(source=source, url=f"https://example.org/{number}", origin="x")
    WebPage.objects.filter(url__endswith="1").update(error="no")
    WebPage.objects.filter(url__endswith="2").update(error="404", vanished_at=timezone.now())
    client = as_user(alice)

    def urls(**query):
        return [item["url"][-1] for item in client.get(at(source, "/pages"), query).json()["items"]]

    assert urls() == ["0", "1", "2"]
    assert urls(state="failed") == ["1"]
    assert urls(state="vanished") == ["2"]


def test_change_pause_and_resume(as_user, alice, source):
    client = as_user(alice)
    body = client.patch(at(source), {"every_hours": 2, "when_vanished": "delete"}, content_type=JSON).json()
    assert (body["every_hours"], body["when_vanished"], body["paused"]) == (2.0, "delete", False)
    assert client.patch(at(source), {"paused": True}, content_type=JSON).json()["paused"] is True
    assert client.patch(at(source), {"paused": False}, content_type=JSON).json()["paused"] is False
    verbs = AuditEntry.objects.filter(subject__contains=URL).values_list("verb", flat=True)
    assert {"change", "pause", "resume"} <= set(verbs)


def test_a_shorter_interval_brings_the_next_look_closer(as_user, alice, source):
    WebPage.objects.update(next_at=timezone.now() + timedelta(days=9))
    as_user(alice).patch(at(source), {"every_hours": 1}, content_type=JSON)
    assert WebPage.objects.get().next_at < timezone.now() + timedelta(hours=2)


def test_check_now(as_user, alice, source, problem):
    WebPage.objects.update(next_at=None, attempts=3)
    assert as_user(alice).post(at(source, "/check")).status_code == 202
    page = WebPage.objects.get()
    assert page.next_at <= timezone.now()
    assert page.attempts == 0
    Source.objects.update(paused=True)
    problem(as_user(alice).post(at(source, "/check")), 409, "paused")


@pytest.mark.parametrize("documents", [False, True])
def test_remove(as_user, alice, collection, source, documents):
    document = Document.objects.create(collection=collection, title="Guide", filename="guide.html")
    WebPage.objects.update(document=document)
    query = "?documents=true" if documents else ""
    assert as_user(alice).delete(at(source) + query).status_code == 204
    assert not Source.objects.exists()
    assert not WebPage.objects.exists()
    assert Document.objects.exists() is not documents


ENDPOINTS = [
    ("get", "", None),
    ("post", "", {"url": "https://example.org/other"}),
    ("get", "/{id}", None),
    ("get", "/{id}/pages", None),
    ("patch", "/{id}", {"paused": True}),
    ("post", "/{id}/check", {}),
    ("delete", "/{id}", None),
]


@pytest.mark.parametrize(("method", "end", "body"), ENDPOINTS)
def test_who_may(as_user, bob, charlie, source, problem, method, end, body):
    statuses = {}
    for user in (bob, charlie, None):
        response = getattr(as_user(user), method)(
            SOURCES + end.format(id=source.pk), body or {}, content_type=JSON
        )
        statuses[user] = problem(response, response.status_code)["status"]
    assert statuses == {bob: 403, charlie: 404, None: 401}
    kept = Source.objects.get()
    assert (kept.url, kept.paused) == (URL, False)


@pytest.mark.parametrize(("method", "end", "body"), ENDPOINTS)
def test_an_editor_may_and_a_reading_key_may_not(
    as_user, bob, key, client, source, problem, method, end, body
):
    Membership.objects.update(role="editor")
    path = SOURCES + end.format(id=source.pk)
    reading = getattr(client, method)(path, body or {}, content_type=JSON, headers=key(bob, "read", "ask"))
    problem(reading, 403, "missing_scope")
    response = getattr(client, method)(path, body or {}, content_type=JSON, headers=key(bob, "write"))
    assert response.status_code in {200, 202, 204}


def test_a_source_is_found_in_its_own_collection_alone(as_user, alice, charlie, source, problem):
    from kb.core.actions import create_collection

    create_collection(charlie, "Others", slug="others")
    problem(as_user(charlie).get(f"/api/v1/collections/others/sources/{source.pk}"), 404)
    problem(as_user(alice).get(f"{SOURCES}/00000000-0000-0000-0000-000000000000"), 404)
