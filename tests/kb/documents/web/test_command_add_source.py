"""`manage.py add_source`: the same action as the page and the API, from a terminal."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from kb.documents.management.commands import add_source as command
from kb.documents.models import Document, Source

pytestmark = pytest.mark.django_db
URL = "https://example.org/guide"


def run(*arguments: str, **options: object) -> str:
    output = StringIO()
    call_command("add_source", *arguments, stdout=output, **options)
    return output.getvalue()


def test_it_adds_and_says_so(admin, collection):
    assert "feeds papers: 1 pages, no document yet" in run(URL, "--collection", "papers", "--every", "2.5")
    source = Source.objects.get()
    assert (source.kind, source.every, source.created_by) == ("page", timedelta(hours=2.5), admin)


def test_it_reports_in_json(admin, alice, collection):
    report = json.loads(
        run("https://example.org/feed.xml", "--collection", "papers", "--as", "alice", "--json")
    )
    assert (report["kind"], report["collection"], report["pages"], report["failed"]) == (
        "feed",
        "papers",
        0,
        [],
    )
    assert Source.objects.get().created_by == alice


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1/", "--collection", "papers"], "this machine"),
        ([URL, "--collection", "no-such"], "no collection"),
        ([URL, "--collection", "papers", "--every", "0.5"], "an hour at least"),
        ([URL, "--collection", "papers", "--as", "bob"], "not change it"),
        ([URL, "--collection", "papers", "--as", "charlie"], "no collection"),
    ],
)
def test_refusals_are_sentences(admin, charlie, collection, arguments, said):
    with pytest.raises(CommandError, match=said):
        run(*arguments)
    assert not Source.objects.exists()


def test_it_waits_until_all_is_done(admin, collection, monkeypatch):
    """Each look is answered by what the workers would have done meanwhile."""

    def work(_seconds):
        source = Source.objects.get()
        page = source.pages.get()
        if page.checked_at is None:
            document = Document.objects.create(collection=collection, title="Guide", filename="g.html")
            source.pages.update(checked_at=timezone.now(), document=document)
        else:
            Document.objects.update(state=Document.State.READY)

    monkeypatch.setattr(command.time, "sleep", work)
    monkeypatch.setattr(command, "workers_alive", lambda _queue: True)
    assert "1 ready" in run(URL, "--collection", "papers", "--wait")


@pytest.mark.parametrize("missing", ["fetch", "parse", "embed"])
def test_it_gives_up_where_nobody_works(admin, collection, monkeypatch, missing):
    monkeypatch.setattr(command, "PATIENCE_SECONDS", -1)
    monkeypatch.setattr(command, "workers_alive", lambda queue: queue != missing)
    with pytest.raises(CommandError, match="No worker is running"):
        run(URL, "--collection", "papers", "--wait")


def test_what_failed_is_told_and_ends_with_1(admin, collection, monkeypatch):
    def work(_seconds):
        Source.objects.update(error="no such page")
        Source.objects.get().pages.update(checked_at=timezone.now(), error="no such page")

    monkeypatch.setattr(command.time, "sleep", work)
    with pytest.raises(SystemExit):
        run(URL, "--collection", "papers", "--wait")
