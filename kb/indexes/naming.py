"""How people name an index version: `2` is that number of the default index, `papers/2` of the index `papers`."""

from kb.core.problems import Problem, not_found
from kb.indexes.models import IndexVersion


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
