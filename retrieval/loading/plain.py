"""Plain text, and the reStructuredText that goes by the name of plain text."""

from retrieval.loading import rst
from retrieval.loading.decoding import decode
from retrieval.loading.text import clean
from retrieval.spans import LoadedText


def load(content: bytes) -> LoadedText:
    """The text as it is; read as reStructuredText where that is what it is."""
    text = clean(decode(content)).strip("\n").rstrip()
    if rst.looks_like(text):
        return rst.from_text(text)
    return LoadedText(text, "", "text/plain")
