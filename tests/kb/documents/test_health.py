"""Whoever fetches is missed only where there is something to fetch."""

import pytest
from django.utils import timezone

from kb.core import health
from kb.core.models import Collection, Heartbeat, User
from kb.documents.health import fetching
from kb.documents.models import Source
from kb.documents.source_actions import add_source

pytestmark = pytest.mark.django_db


def test_a_site_without_sources_needs_no_worker_for_them(db: None) -> None:
    assert fetching() == health.Check("worker:fetch", True)
    assert fetching in health.of_apps


def test_a_source_needs_a_worker_unless_it_is_paused(alice: User, collection: Collection) -> None:
    add_source(alice, collection, "https://example.org/guide")
    assert fetching() == health.Check("worker:fetch", False, "No worker takes from the queue fetch.")
    Source.objects.update(paused=True)
    assert fetching().ok
    Source.objects.update(paused=False)
    Heartbeat.objects.create(worker="fetch@here:1", queue="fetch", pid=1, at=timezone.now())
    assert fetching().ok


def test_the_whole_sites_health_names_it(alice: User, collection: Collection) -> None:
    add_source(alice, collection, "https://example.org/guide")
    assert not {check.name: check for check in health.checks()}["worker:fetch"].ok
