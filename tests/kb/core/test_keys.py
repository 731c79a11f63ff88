"""An API key is found where it may be used, on a connection that is kept and inside a transaction alike."""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from kb.core import keys, pools
from kb.core.actions import create_api_key, revoke_api_key
from kb.core.models import APIKey, User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["kept", "own"])
def asked(request: pytest.FixtureRequest) -> Iterator[None]:
    with transaction.atomic() if request.param == "own" else nullcontext():
        yield


def test_a_key_comes_with_its_owner(asked: None, alice: User) -> None:
    made, secret = create_api_key(alice, "mine", ["ask", "read"])
    key = keys.usable(secret)
    assert key == made
    assert (key.name, key.prefix, key.last_used_at) == ("mine", secret[:11], None)
    assert set(key.scopes) == {"read", "ask"}
    assert (key.owner, key.owner.username, key.owner.is_superuser) == (alice, "alice", False)
    assert key.owner.password == alice.password  # read when it is asked for
    assert key.created_at == made.created_at


def test_what_may_not_be_used_is_not_found(asked: None, alice: User) -> None:
    made, secret = create_api_key(alice, "mine", ["read"], timezone.now() + timedelta(hours=1))
    assert keys.usable(secret) == made
    assert keys.usable(f"{secret}x") is None
    APIKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert keys.usable(secret) is None
    APIKey.objects.update(expires_at=None)
    assert keys.usable(secret) == made
    User.objects.update(is_active=False)
    assert keys.usable(secret) is None
    User.objects.update(is_active=True)
    revoke_api_key(alice, made)
    assert keys.usable(secret) is None


def test_what_a_transaction_wrote_is_seen_in_it(alice: User) -> None:
    with transaction.atomic():
        made, secret = create_api_key(alice, "mine", ["read"])
        assert keys.usable(secret) == made
        with pools.asking("rows") as connected:
            assert connected.execute(keys.KEY, [made.hash]).fetchone() is None
    assert keys.usable(secret) == made


def test_django_needs_no_connection_for_it(alice: User) -> None:
    _, secret = create_api_key(alice, "mine", ["read"])
    connection.close()
    assert keys.usable(secret) is not None
    assert connection.connection is None
