"""What tests of the queue share: the live version, with what its work needs at hand."""

import pytest

from kb.core.models import Collection, User
from kb.indexes import embedding
from kb.indexes.models import Index, IndexVersion


@pytest.fixture
def version(index: Index) -> IndexVersion:
    return IndexVersion.objects.select_related("model", "index", "chunking").get(pk=index.live_version_id)


@pytest.fixture
def other(charlie: User) -> Collection:
    """A stranger's."""
    return Collection.objects.create(name="Other", slug="other", owner=charlie)


@pytest.fixture(autouse=True)
def unmeasured() -> None:
    """No test goes by the pace of another."""
    embedding._paces.clear()
    embedding._rests.clear()
