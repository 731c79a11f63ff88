"""What a search is served by: in each index the live version, or the canary for those readers that it has; and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kb.core import pools
from kb.core.models import Reader, User
from kb.core.visibility import Subselect
from kb.indexes.models import IndexVersion
from retrieval import rollout

# What is searched and what may serve it, in one statement for each query. `stamp` is another one whenever a row of
# the version, its model or its index was written; so is `profile`, which begins with the default profile's id.
SERVING = """
WITH home AS (
    SELECT coalesce(placed.index_id, (SELECT id FROM indexes_index WHERE is_default)) AS index_id,
        array_agg(asked.id ORDER BY asked.id) AS collections
    FROM ({asked}) AS asked(id)
    LEFT JOIN indexes_indexedcollection placed ON placed.collection_id = asked.id
    GROUP BY 1
)
SELECT index.id, home.collections,
    ARRAY(
        SELECT DISTINCT language FROM documents_collectionlanguage
        WHERE collection_id = ANY(home.collections) ORDER BY language
    ) AS languages,
    version.id, version.id = index.live_version_id,
    concat_ws(' ', version.xmin, version.ctid, model.xmin, model.ctid, index.xmin, index.ctid) AS stamp,
    (SELECT concat_ws(' ', id, xmin, ctid) FROM search_retrievalprofile WHERE is_default) AS profile
FROM home
JOIN indexes_index AS index ON index.id = home.index_id
JOIN indexes_indexversion AS version ON version.index_id = index.id
    AND (version.id = index.live_version_id OR version.state IN ('canary', 'shadow'))
JOIN indexes_embeddingmodel AS model ON model.id = version.model_id
ORDER BY index.id, version.id
"""

_known: dict[tuple[str, int], tuple[str, IndexVersion]] = {}


@dataclass(frozen=True)
class Served:
    """What serves a reader in one index, in which collections, and the `languages` of these; `beside` are the
    versions in shadow of it, and `profile` is the stamp of the default retrieval profile.

    The versions come with model and index; they are shared, and not to be changed.
    """

    version: IndexVersion
    collections: list[int]
    languages: tuple[str, ...] = ()
    beside: tuple[IndexVersion, ...] = ()
    profile: str = ""


@dataclass
class _Choice:
    """The versions of one index that serve or may serve."""

    collections: list[int]
    languages: tuple[str, ...]
    profile: str
    live: IndexVersion | None = None
    tried: tuple[IndexVersion, ...] = ()


def served(collections: Subselect, reader: Reader) -> list[Served]:
    """For each index that has something live, read at this moment: a promotion holds from the next query on."""
    found = []
    for choice in choices(collections):
        if choice.live is None:
            continue
        version = serving(choice.live, reader, choice.tried)
        shadows = tuple(each for each in choice.tried if in_shadow(each))
        beside = shadows if version is choice.live else ()
        found.append(Served(version, choice.collections, choice.languages, beside, choice.profile))
    return found


def choices(collections: Subselect) -> list[_Choice]:
    """One for each index that holds some of the collections."""
    with pools.asking("rows") as connected:
        statement = SERVING.format(asked=collections.sql).encode()
        rows = connected.execute(statement, collections.given, binary=True).fetchall()
    versions = read({version_id: stamp for *_, version_id, _, stamp, _ in rows})
    found: dict[int, _Choice] = {}
    for index_id, held, languages, version_id, is_live, _, profile in rows:
        choice = found.setdefault(index_id, _Choice(held, tuple(languages), profile or ""))
        if version_id not in versions:  # gone meanwhile
            continue
        if is_live:
            choice.live = versions[version_id]
        else:
            choice.tried += (versions[version_id],)
    return list(found.values())


def read(stamps: Mapping[int, str]) -> dict[int, IndexVersion]:
    """The versions by id; those whose stamp is not the one that they were read under are read again."""
    database = pools.database()
    known = {pk: _known.get((database, pk), ("", None)) for pk in stamps}
    changed = [pk for pk, stamp in stamps.items() if known[pk][0] != stamp]
    if changed:
        for version in IndexVersion.objects.filter(pk__in=changed).select_related("model", "index"):
            known[version.pk] = _known[database, version.pk] = (stamps[version.pk], version)
    return {pk: version for pk, (_, version) in known.items() if version is not None}


def serving(live: IndexVersion, reader: Reader, tried: Sequence[IndexVersion]) -> IndexVersion:
    """The canary among `tried`, if it has this reader, else the live version."""
    who = known_as(reader)
    for version in tried:
        canary = version.state == IndexVersion.State.CANARY
        if canary and who and rollout.serves(str(version.pk), who, version.canary_percent):
            return version
    return live


def known_as(reader: Reader) -> str:
    """What a reader is known by from query to query. A key acts as its owner; who is not signed in has nothing
    that lasts, and is never part of a canary."""
    return f"user {reader.pk}" if isinstance(reader, User) else ""


def in_shadow(version: IndexVersion) -> bool:
    return version.state == IndexVersion.State.SHADOW and version.shadow_share > 0
