"""Which version of an index serves a reader: the live one, or the canary those readers that it has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kb.core.models import Reader, User
from kb.indexes.models import Index, IndexVersion
from retrieval import rollout


@dataclass(frozen=True)
class Served:
    """What serves a reader in one index, in which collections; `beside` are the versions in shadow of it."""

    version: IndexVersion
    collections: list[int]
    beside: tuple[IndexVersion, ...] = ()


def served(placed: Mapping[Index, list[int]], reader: Reader) -> list[Served]:
    """For each index that has something live, read at this moment: a promotion holds from the next query on."""
    tried = candidates(placed)
    found = []
    for index, collections in placed.items():
        version = serving(index, reader, tried)
        if version is None:
            continue
        shadows = [each for each in tried if in_shadow(each) and each.index_id == index.pk]
        beside = tuple(shadows) if version.pk == index.live_version_id else ()
        found.append(Served(version, collections, beside))
    return found


def candidates(indexes: Iterable[Index]) -> list[IndexVersion]:
    """The versions that have a share of the readers or of the queries, each with its model and index."""
    states = (IndexVersion.State.CANARY, IndexVersion.State.SHADOW)
    versions = IndexVersion.objects.filter(index__in=list(indexes), state__in=states)
    return list(versions.select_related("model", "index").order_by("pk"))


def serving(index: Index, reader: Reader, tried: Iterable[IndexVersion]) -> IndexVersion | None:
    """The canary among `tried`, if it has this reader, else the live version; None where nothing is live."""
    who = known_as(reader)
    for version in tried:
        canary = version.state == IndexVersion.State.CANARY and version.index_id == index.pk
        if canary and who and rollout.serves(str(version.pk), who, version.canary_percent):
            return version
    return index.live_version


def known_as(reader: Reader) -> str:
    """What a reader is known by from query to query. A key acts as its owner; who is not signed in has nothing
    that lasts, and is never part of a canary."""
    return f"user {reader.pk}" if isinstance(reader, User) else ""


def in_shadow(version: IndexVersion) -> bool:
    return version.state == IndexVersion.State.SHADOW and version.shadow_share > 0
