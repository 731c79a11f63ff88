"""How people name versions, indexes and models: `2` is that number of the default index, `papers/2` of `papers`."""

from django.db.models import Q

from kb.core.problems import Problem, not_found
from kb.indexes.models import EmbeddingModel, Index, IndexVersion


def named(text: str) -> IndexVersion:
    """The version with its index, model and chunking; Problem where there is none of that name."""
    slug, slash, number = text.rpartition("/")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise Problem("invalid", f"{text!r} names no version: say 2, or papers/2.", field="version")
    versions = IndexVersion.objects.select_related("index", "model", "chunking")
    within = versions.filter(index__slug=slug) if slash else versions.filter(index__is_default=True)
    found = within.filter(number=int(number)).first()
    if found is None:
        raise not_found("index version")
    return found


def index_named(slug: str | None) -> Index:
    """The index, the default one where none is named; Problem where there is none."""
    found = Index.objects.filter(slug=slug).first() if slug else Index.objects.filter(is_default=True).first()
    if found is None:
        raise not_found("index")
    return found


def model_named(text: str) -> EmbeddingModel:
    """The newest model of that name, the last part of a path or a name being enough; Problem where there is none."""
    found = EmbeddingModel.objects.filter(Q(name=text) | Q(name__endswith=f"/{text}")).order_by("-pk").first()
    if found is None:
        known = ", ".join(EmbeddingModel.objects.order_by("name").values_list("name", flat=True).distinct())
        raise Problem("not_found", f"There is no model {text!r}; there are: {known}.", 404)
    return found
