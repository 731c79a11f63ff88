"""How far a document, an upload and a collection are, through the API."""

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from kb.core.models import Heartbeat
from kb.documents.actions import add_document, open_upload
from kb.documents.models import Upload
from tests.conftest import work_off

API = "/api/v1"


@pytest.fixture
def upload(alice, collection, index):
    """One document that is ready, one that waits."""
    made = open_upload(alice, collection, Upload.Origin.API)
    add_document(alice, collection, ContentFile(b"Bees dance.", "bees.txt"), upload=made)
    work_off()
    add_document(alice, collection, ContentFile(b"Wasps build.", "wasps.txt"), upload=made)
    return made


def paths(upload):
    document = upload.documents.get(filename="bees.txt")
    return [f"documents/{document.pk}", f"uploads/{upload.pk}", f"collections/{upload.collection.slug}"]


def test_how_far_each_is(as_user, alice, upload):
    for queue, rate in (("parse", 2.0), ("embed", 10.0)):
        Heartbeat.objects.create(worker=queue, queue=queue, pid=1, at=timezone.now(), rate=rate)
    client = as_user(alice)
    document, together, collection = (client.get(f"{API}/{path}/progress").json() for path in paths(upload))
    assert (document["documents"], document["finished"], document["fraction"]) == (1, 1, 1.0)
    assert together == collection
    assert (together["documents"], together["finished"], together["states"]["queued"]) == (2, 1, 1)
    assert 0 < together["fraction"] < 1
    assert (together["rate"], together["parse_rate"]) == (10.0, 2.0)
    assert together["seconds_left"] > 0


def test_who_may_know(as_user, bob, charlie, upload, problem):
    for path in paths(upload):
        assert as_user(bob).get(f"{API}/{path}/progress").status_code == 200
        for user in (charlie, None):
            problem(as_user(user).get(f"{API}/{path}/progress"), 404, "not_found")
