"""The library lists its collections by name, however its counts are queried."""

import re

import pytest

from kb.core.models import Collection, User

pytestmark = pytest.mark.django_db(transaction=True)


def test_collections_stand_in_the_order_of_their_names(as_user, alice: User) -> None:
    for slug in ("m", "z", "a", "q", "c"):
        Collection.objects.create(name=f"Shelf {slug}", slug=f"shelf-{slug}", owner=alice)
    Collection.objects.filter(slug="shelf-a").update(description="An update moves a row in its table.")
    listed = re.findall(r">Shelf (\w)<", as_user(alice).get("/library/").content.decode())
    assert listed == ["a", "c", "m", "q", "z"]
