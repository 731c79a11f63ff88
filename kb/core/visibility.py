"""Which collections a reader may see, as SQL to stand in other statements."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from kb.core.models import Collection, Reader, User


@dataclass(frozen=True)
class Subselect:
    """Selects ids of collections; `given` are the parameters of `sql`, in order."""

    sql: str
    given: tuple[Any, ...] = ()


def subselect(collections: QuerySet[Collection]) -> Subselect:
    sql, given = collections.order_by().values("pk").query.sql_with_params()
    # A text of an enumeration is a type that the driver has to look up.
    return Subselect(sql, tuple(str(value) if isinstance(value, str) else value for value in given))


def visible(reader: Reader) -> Subselect:
    """`Collection.objects.visible_to(reader)`. Only the statement is remembered: what it finds is read each time."""
    return _visible(reader.pk, reader.is_superuser) if isinstance(reader, User) else _visible()


@lru_cache(maxsize=4096)
def _visible(user: int | None = None, superuser: bool = False) -> Subselect:
    """Making the statement takes Django longer than the database needs to answer it."""
    reader = AnonymousUser() if user is None else User(pk=user, is_superuser=superuser)
    return subselect(Collection.objects.visible_to(reader))
