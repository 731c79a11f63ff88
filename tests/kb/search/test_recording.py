"""What is recorded of a search is what the model holds."""

import pytest

from kb.core.models import User
from kb.indexes.models import Index
from kb.search.models import Query
from kb.search.profiles import default_profile
from kb.search.recording import record

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_field_is_written(alice: User, index: Index) -> None:
    version = index.live_version
    assert version is not None
    query = Query(
        kind=Query.Kind.ASK,
        user=alice,
        text="why? “é”",
        profile=default_profile(),
        version=version,
        versions=[version.pk],
        results=3,
        degraded="The question could not be embedded.",
        stages={"total": 1.5},
    )
    record(query)
    written = Query.objects.get(pk=query.pk)
    for field in Query._meta.concrete_fields:
        assert getattr(written, field.attname) == getattr(query, field.attname), field.name


def test_who_is_not_signed_in_has_a_record_too() -> None:
    record(Query(kind=Query.Kind.SEARCH, text="anything"))
    assert Query.objects.get().user is None
