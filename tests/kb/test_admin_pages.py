"""Every page of the admin opens, with a row in each list, for whoever may open it."""

import pytest
from django.contrib import admin as site
from django.urls import reverse
from django.utils import timezone

from kb.core.actions import create_api_key, invite
from kb.core.auditing import record
from kb.core.models import Heartbeat
from kb.documents.actions import open_upload
from kb.documents.models import Document
from kb.documents.source_actions import add_source
from kb.indexes.models import Calibration, EmbeddingJob
from kb.quality.models import Question, QuestionSet
from kb.search.answers import ask
from kb.search.models import Interaction, Query, RetrievalProfile
from retrieval.embedders.backends import TORCH
from retrieval.embedders.calibration import Measurement
from retrieval.embedders.measuring import to_json
from tests.conftest import ingest

# The arms of the search see only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "# Bees\n\nThe waggle dance tells the other bees the direction and the distance of the flowers.\n"
PAGES = {
    "core_user", "core_invitation", "core_collection", "core_apikey", "core_auditentry", "core_heartbeat",
    "documents_document", "documents_chunk", "documents_upload",
    "documents_source", "documents_webpage", "indexes_embeddingmodel", "indexes_index",
    "indexes_indexversion", "indexes_calibration",
    "indexes_embeddingjob", "search_query", "search_answer", "search_retrievalprofile",
    "quality_questionset", "quality_question",
}  # fmt: skip
ADDED_TO = {"core_user", "core_invitation", "core_collection", "core_apikey", "documents_document",
            "search_retrievalprofile", "quality_questionset", "quality_question"}  # fmt: skip


@pytest.fixture
def filled(admin, alice, collection, index):
    """A row in every table that the admin shows."""
    upload = open_upload(alice, collection, "page", "Bees and flowers")
    document = ingest(alice, collection, "bees.md", TEXT)
    Document.objects.filter(pk=document.pk).update(upload=upload)
    add_source(alice, collection, "https://example.org/bees")
    create_api_key(alice, "program", ["read"])
    invite(admin, "dora@example.org")
    record(admin, "look at", document)
    Heartbeat.objects.create(worker="embed@here:1", queue="embed", pid=1, at=timezone.now(), rate=41.3)
    EmbeddingJob.objects.create(
        collection=collection,
        version=index.live_version,
        chunk=document.chunks.get(),
        attempts=2,
        error="lost",
    )
    Calibration.objects.create(
        model=index.live_version.model, machine="0" * 64, described="two cores", backend="torch",
        number_format="float32", batch_size=8,
        measured=[to_json(Measurement(TORCH, {8: 20.0}, 1.0)) | {"verdict": "chosen"}],
    )  # fmt: skip
    questions = QuestionSet.objects.create(index=index, name="Bees")
    Question.objects.create(question_set=questions, text="What does the waggle dance tell?")
    answer = list(ask(alice, "What does the waggle dance tell?"))[-1].answer
    Interaction.objects.create(answer=answer, user=alice, kind="helpful")
    return document


def names():
    return {f"{model._meta.app_label}_{model._meta.model_name}" for model in site.site._registry}


def test_what_has_pages():
    assert names() == PAGES


def test_every_list_and_every_row_opens(as_user, admin, filled):
    client = as_user(admin)
    for model in site.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        response = client.get(reverse(f"admin:{name}_changelist"))
        assert response.status_code == 200, name
        row = model._default_manager.first()
        assert row is not None, name
        assert str(row.pk) in response.content.decode(), name
        assert client.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200, name


def test_what_is_added_by_hand(as_user, admin, filled):
    client = as_user(admin)
    for name in PAGES:
        expected = 200 if name in ADDED_TO else 403
        assert client.get(reverse(f"admin:{name}_add")).status_code == expected, name


def test_lists_can_be_searched_and_filtered(as_user, admin, filled):
    client = as_user(admin)
    for name, query in [
        ("documents_document", "q=bees&state__exact=ready&collection=papers"),
        ("documents_document", "paused__exact=0"),
        ("documents_upload", "q=bees&origin__exact=page&collection=papers"),
        ("documents_chunk", "q=bees&collection=papers"),
        ("core_collection", "q=pap"),
        ("core_user", "q=ali"),
        ("search_query", "q=waggle"),
        ("search_answer", "q=waggle"),
        ("core_auditentry", "q=bees"),
        ("quality_questionset", "q=bees"),
        ("quality_question", "q=waggle"),
    ]:
        response = client.get(reverse(f"admin:{name}_changelist") + "?" + query)
        assert response.context["cl"].result_count >= 1, name


def test_the_overview(as_user, admin, filled):
    page = as_user(admin).get(reverse("admin:index")).content.decode()
    assert "Readiness" in page
    assert "Default v1" in page
    assert "embed@here:1" in page
    assert "41 a second" in page
    assert "Cancelled" in page
    assert "Of them paused" in page


def test_the_chunk_between_its_neighbours_with_its_lineage(as_user, admin, alice, collection, index):
    text = "\n\n".join(
        f"# Part {part}\n\n" + f"Words about {part}. " * 90 for part in ("one", "two", "three")
    )
    chunks = list(ingest(alice, collection, "parts.md", text).chunks.order_by("ordinal"))
    page = as_user(admin).get(reverse("admin:documents_chunk_change", args=[chunks[1].pk])).content.decode()
    assert f"Before: chunk {chunks[0].pk}" in page
    assert f"After: chunk {chunks[2].pk}" in page
    assert index.live_version.model.name in page
    assert chunks[1].text_hash.hex() in page


def test_who_is_no_staff_does_not_get_in(as_user, alice, filled):
    for name in PAGES:
        assert as_user(alice).get(reverse(f"admin:{name}_changelist")).status_code == 302


@pytest.fixture
def curator(charlie):
    """Staff with every right that can be given, but to whom Alice's collection is closed."""
    from django.contrib.auth.models import Permission

    charlie.is_staff = True
    charlie.save()
    charlie.user_permissions.set(Permission.objects.all())
    return charlie


def test_staff_see_no_more_of_the_corpus_here_than_elsewhere(as_user, curator, filled):
    client = as_user(curator)
    for name in ("core_collection", "core_apikey", "documents_document", "documents_upload", "documents_chunk",
                 "search_query",
                 "search_answer"):  # fmt: skip
        page = client.get(reverse(f"admin:{name}_changelist"))
        assert page.context["cl"].result_count == 0, name
        assert "papers" not in page.content.decode().lower(), name
    for row in (filled, filled.collection, filled.chunks.get(), Query.objects.get()):
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        assert client.get(reverse(name, args=[row.pk])).status_code == 302


@pytest.mark.parametrize("name", ["core_user", "core_invitation", "core_auditentry"])
def test_accounts_and_the_audit_log_are_for_administrators_with_all_rights(as_user, curator, filled, name):
    assert as_user(curator).get(reverse(f"admin:{name}_changelist")).status_code == 403
    assert as_user(curator).get(reverse(f"admin:{name}_add")).status_code == 403


def test_an_answer_shows_a_curator_only_what_they_may_still_see(as_user, bob, filled):
    from django.contrib.auth.models import Permission

    answer = list(ask(bob, "What does the waggle dance tell?"))[-1].answer
    bob.is_staff = True
    bob.save()
    bob.user_permissions.set(Permission.objects.all())
    path = reverse("admin:search_answer_change", args=[answer.pk])
    assert "direction" in as_user(bob).get(path).content.decode()
    filled.collection.memberships.all().delete()
    assert "direction" not in as_user(bob).get(path).content.decode()


def test_a_changed_profile_is_a_new_row(as_user, admin, db):
    profile = RetrievalProfile.objects.create(name="Default", is_default=True)
    path = reverse("admin:search_retrievalprofile_change", args=[profile.pk])
    as_user(admin).post(path, {"dense_weight": "0.5", "candidates": "50", "passages": "6"})
    profile.refresh_from_db()
    assert (profile.dense_weight, profile.is_default) == (0.8, False)
    made = RetrievalProfile.objects.get(number=2)
    assert (made.name, made.dense_weight, made.candidates, made.is_default) == ("Default", 0.5, 50, True)


@pytest.mark.parametrize("weight", ["-0.1", "1.1", "nan"])
def test_a_profile_out_of_range_is_refused(as_user, admin, db, weight):
    body = {"name": "Odd", "dense_weight": weight, "candidates": "50", "passages": "6"}
    assert as_user(admin).post(reverse("admin:search_retrievalprofile_add"), body).status_code == 200
    assert not RetrievalProfile.objects.filter(name="Odd").exists()


def test_another_default_takes_the_place_of_the_old_one(as_user, admin, db):
    RetrievalProfile.objects.create(name="Default", is_default=True)
    body = {"name": "Words", "dense_weight": "0", "candidates": "50", "passages": "6", "serves": "on"}
    response = as_user(admin).post(reverse("admin:search_retrievalprofile_add"), body)
    assert response.status_code == 302, response.context["errors"]
    assert [profile.name for profile in RetrievalProfile.objects.filter(is_default=True)] == ["Words"]
