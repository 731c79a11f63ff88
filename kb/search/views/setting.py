"""What templates need to show an answer and its sources, or passages found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString

from kb.core.models import Reader
from kb.documents.models import DocumentRevision
from kb.documents.reading import heading_path, page_at
from kb.search.answers import ShownAnswer, ShownCitation, shown_to
from kb.search.arranging import Row
from kb.search.models import Answer, Query
from kb.search.rendering import answer_html
from kb.search.snippets import Piece, snippet
from retrieval.evidence import Passage
from retrieval.spans import Heading, Page

Layout = tuple[list[Page], list[Heading]]


@dataclass(frozen=True)
class Source:
    """One footnote for the list of sources; without `href` the reader may not see it (any more)."""

    marker: int
    href: str = ""
    title: str = ""
    page: int | None = None
    headings: tuple[str, ...] = ()
    quote: str = ""


@dataclass(frozen=True)
class Found:
    """A passage for a list of results."""

    href: str
    passage: Passage
    headings: tuple[str, ...]
    snippet: list[Piece]


@dataclass(frozen=True)
class Reply:
    """A stored answer as a page shows it."""

    answer: ShownAnswer
    html: SafeString
    sources: list[Source]


def passage_url(document_id: object, start: int, end: int, revision: int | None = None) -> str:
    """The document's page, scrolled to the passage."""
    place = {"start": start, "end": end} | ({"revision": revision} if revision else {})
    return f"{reverse('document', args=[document_id])}?{urlencode(place)}#passage"


def result_url(query: Query, rank: int, passage: Passage, revision: int | None) -> str:
    """The way to a result, past the note that it was opened."""
    place = {
        "document": passage.document_id,
        "start": passage.start,
        "end": passage.start + len(passage.text),
    } | ({"revision": revision} if revision else {})
    return f"{reverse('result', args=[query.pk, rank])}?{urlencode(place)}"


def reply(reader: Reader, answer: Answer) -> Reply:
    """The answer as this reader may see it."""
    shown = shown_to(reader, answer)
    layouts = layouts_of(shown)
    sources = [source(shown, cited, layouts) for cited in shown.citations]
    links = {each.marker: (each.href, described(each)) for each in sources if each.href}
    return Reply(shown, answer_html(shown.text, shown.model, links), sources)


def source(shown: ShownAnswer, cited: ShownCitation, layouts: Mapping[int, Layout]) -> Source:
    """The footnote; its page and headings are those of the quoted words, not of the whole passage."""
    if not cited.visible:
        return Source(cited.marker)
    pages, headings = layouts.get(cited.revision_id or 0, ([], []))
    return Source(
        marker=cited.marker,
        href=reverse("citation", args=[shown.id, cited.marker]),
        title=cited.title,
        page=page_at(pages, cited.start),
        headings=below(cited.title, heading_path(headings, cited.start)),
        quote=cited.quote,
    )


def below(title: str, headings: tuple[str, ...]) -> tuple[str, ...]:
    """The headings without a first one that only repeats the document's title."""
    return headings[1:] if headings[:1] == (title,) else headings


def described(source: Source) -> str:
    return f"{source.title}, page {source.page}" if source.page else source.title


def layouts_of(shown: ShownAnswer) -> dict[int, Layout]:
    """Pages and headings of the cited revisions, by revision."""
    ids = {cited.revision_id for cited in shown.citations if cited.revision_id}
    rows = DocumentRevision.objects.filter(pk__in=ids).values_list("pk", "pages", "headings")
    return {
        pk: ([Page(*page) for page in pages], [Heading(*heading) for heading in headings])
        for pk, pages, headings in rows
    }


def found(
    passages: Sequence[Passage], rows: Iterable[Row], query: str, searched: Query | None = None
) -> list[Found]:
    """The passages with their snippets, linked to the revision they were cut from; those of a search that is stored
    by a way that notes that they were opened."""
    revision_of = {row.id: row.revision_id for row in rows}
    found = DocumentRevision.objects.filter(pk__in=set(revision_of.values()))
    revisions = {
        pk: (number, language) for pk, number, language in found.values_list("pk", "number", "language")
    }
    return [
        Found(
            href=result_url(searched, rank, passage, number)
            if searched
            else passage_url(passage.document_id, passage.start, passage.start + len(passage.text), number),
            passage=passage,
            headings=below(passage.title, passage.heading_path),
            snippet=snippet(passage.text, query, language=language),
        )
        for rank, passage in enumerate(passages, 1)
        for number, language in [revisions.get(revision_of.get(passage.chunk_id, 0), (None, ""))]
    ]
