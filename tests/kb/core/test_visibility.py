"""The statement that says what a reader may see finds what the query set finds, as it is at that moment."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection

from kb.core.models import Collection, Membership, Reader, User
from kb.core.visibility import subselect, visible

pytestmark = pytest.mark.django_db


def found(reader: Reader) -> set[int]:
    inside = visible(reader)
    with connection.cursor() as cursor:
        cursor.execute(inside.sql, inside.given)
        return {pk for (pk,) in cursor.fetchall()}


@pytest.fixture
def collections(alice: User) -> list[Collection]:
    return [
        Collection.objects.create(name=kind, slug=kind, owner=alice, visibility=kind)
        for kind in Collection.Visibility.values
    ]


def test_everybody_finds_what_they_may_see(collections: list[Collection], alice: User, bob: User) -> None:
    admin = User.objects.create_superuser("root", password="unused")
    Membership.objects.create(collection=collections[1], user=bob, role=Membership.Role.READER)
    for reader in (alice, bob, admin, AnonymousUser()):
        assert found(reader) == set(Collection.objects.visible_to(reader).values_list("pk", flat=True))


def test_a_permission_that_is_withdrawn_holds_at_once(collections: list[Collection], bob: User) -> None:
    members = next(each for each in collections if each.visibility == Collection.Visibility.MEMBERS)
    membership = Membership.objects.create(collection=members, user=bob, role=Membership.Role.READER)
    assert members.pk in found(bob)
    membership.delete()
    assert members.pk not in found(bob)


def test_parameters_are_plain_texts_and_numbers(collections: list[Collection], bob: User) -> None:
    assert {type(value) for value in visible(bob).given} == {str, int}
    assert subselect(Collection.objects.filter(slug="public")).given == ("public",)
