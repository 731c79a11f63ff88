"""Asks, answers, stores the answer with its footnotes, and shows a stored one to whoever may see it."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, transaction

from kb.core.holding import held
from kb.core.models import Collection, Reader
from kb.documents.models import Document, DocumentRevision
from kb.documents.reading import page_at
from kb.indexes import providers
from kb.indexes.models import EmbeddingModel, IndexVersion
from kb.search.engine import Results, search
from kb.search.models import Answer, Citation, Query
from kb.search.profiles import default_profile
from kb.search.redaction import claims, redacted
from retrieval.answering import Answerer, AnswerEvent, AnswerFailed, Cited, Finished, TextDelta
from retrieval.answering.extractive import ExtractiveAnswerer
from retrieval.answering.generative import GenerativeAnswerer
from retrieval.evidence import Passage
from retrieval.spans import Page

if TYPE_CHECKING:
    from openai import OpenAI

logger = logging.getLogger(__name__)

UNCITED = "The language model named no source for its answer, so the answer was not kept."
MOST_CLOSEST = 3


@dataclass(frozen=True)
class Started:
    """The passages are found; the answer begins."""

    results: Results


@dataclass(frozen=True)
class Completed:
    """The answer as it was stored; `closest` is shown where it declines."""

    answer: Answer
    closest: tuple[Passage, ...] = ()


Event: TypeAlias = Started | TextDelta | Cited | Completed


def ask(user: Reader, text: str, collections: Sequence[str] | None = None) -> Iterator[Event]:
    """Answers from what `user` may see. Closing the iterator stops the work and stores what there was.

    Raises Problem before the first event; a failure of the language model is a stored answer in
    the state `failed`.
    """
    results = search(user, text, collections, limit=default_profile().passages, kind=Query.Kind.ASK)
    draft = Draft(results)
    # A language model may take minutes, in which others have a use for the connection.
    close_old_connections()
    yield Started(results)
    try:
        with closing(answering(results)) as events:
            for event in map(draft.placed, events):
                draft.take(event)
                if not isinstance(event, Finished):
                    yield event
    except AnswerFailed as error:
        logger.warning("The language model failed: %s", error.message)
        draft.answer.state, draft.answer.error = Answer.State.FAILED, error.message
    finally:
        draft.store()
    yield Completed(draft.answer, draft.closest)


def answering(results: Results) -> Generator[AnswerEvent, None, None]:
    yield from answerer(results).answer(results.words or results.query.text, results.passages)


def answerer(results: Results) -> Answerer:
    """The language model where one is configured, else the quoting answerer."""
    if settings.LLM_BASE_URL and settings.LLM_MODEL:
        return GenerativeAnswerer(
            language_model(), settings.LLM_MODEL, read_timeout=settings.LLM_TIMEOUT_SECONDS
        )
    version = results.query.version
    model = (
        version.model if version else EmbeddingModel(provider=EmbeddingModel.Provider.HASHING, dimensions=384)
    )
    return ExtractiveAnswerer(providers.embedder(model))


@cache
def language_model() -> "OpenAI":
    from openai import OpenAI  # noqa: PLC0415  half a second, which most processes never need

    return OpenAI(base_url=settings.LLM_BASE_URL, api_key=settings.LLM_API_KEY or "none", max_retries=1)


class Draft:
    """The answer in the making: until it is finished, it counts as left by its reader."""

    def __init__(self, results: Results) -> None:
        self.results = results
        given = {UUID(passage.document_id) for passage in results.passages}
        self.answer = Answer(query=results.query, state=Answer.State.CANCELLED, given=sorted(given))
        self.cited: list[Cited] = []
        self.closest: tuple[Passage, ...] = ()
        self.pages: dict[int, list[Page]] = {}

    def placed(self, event: AnswerEvent) -> AnswerEvent:
        """A footnote with the page that its quote stands on: a chunk may run over several."""
        if not isinstance(event, Cited):
            return event
        revision_id = self.results.sources[event.passage.chunk_id].revision_id
        if revision_id not in self.pages:
            found = DocumentRevision.objects.filter(pk=revision_id).values_list("pages", flat=True).first()
            self.pages[revision_id] = [Page(*page) for page in found or []]
        pages = self.pages[revision_id]
        return replace(event, passage=replace(event.passage, page=page_at(pages, event.start)))

    def take(self, event: AnswerEvent) -> None:
        match event:
            case TextDelta(text):
                self.answer.text += text
            case Cited():
                self.cited.append(event)
            case Finished():
                self.answer.state = Answer.State.DECLINED if event.declined else Answer.State.ANSWERED
                self.answer.text, self.closest = event.text, event.closest
                self.answer.model, self.answer.confidence = event.model, event.confidence
                self.answer.removed_markers = event.removed_markers
                self.answer.prompt_tokens = event.prompt_tokens
                self.answer.completion_tokens = event.completion_tokens
                if not (event.declined or event.citations):
                    self.withhold(event.closest)

    def withhold(self, closest: tuple[Passage, ...]) -> None:
        """Words that name no source are no answer here: they are neither kept nor shown."""
        self.answer.state, self.answer.text, self.answer.error = Answer.State.DECLINED, "", UNCITED
        self.closest = closest or self.results.passages[:MOST_CLOSEST]

    @transaction.atomic
    def store(self) -> None:
        """Writes answer and footnotes. A source deleted while the answer was made is left out at once.

        Of an answer that was cut short, the words behind the last marker are not kept: nothing would
        say which source they rest on, and so nothing would take them out when it goes.
        """
        if self.answer.state in {Answer.State.CANCELLED, Answer.State.FAILED}:
            self.answer.text = "".join(claim.text for claim in claims(self.answer.text) if claim.markers)
        self.answer.save()
        sources = [self.results.sources[cited.passage.chunk_id] for cited in self.cited]
        held(Collection, {source.collection_id for source in sources})
        alive = held(Document, self.answer.given)
        kept = [cited for cited in self.cited if UUID(cited.passage.document_id) in alive]
        if len(alive) < len(self.answer.given):
            self.answer.text = redacted(self.answer.text, {cited.marker for cited in kept})
            self.answer.given = sorted(alive)
            self.answer.save(update_fields=["text", "given"])
        Citation.objects.bulk_create([self.citation(cited) for cited in kept])

    def citation(self, cited: Cited) -> Citation:
        source = self.results.sources[cited.passage.chunk_id]
        return Citation(
            answer=self.answer,
            marker=cited.marker,
            document_id=source.document_id,
            revision_id=source.revision_id,
            collection_id=source.collection_id,
            chunk_id=source.id,
            start=cited.start,
            end=cited.end,
            quote=cited.quote,
            page=cited.passage.page,
        )


@dataclass(frozen=True)
class ShownCitation:
    """A footnote as one reader sees it; when it is not `visible`, everything but the marker is empty."""

    marker: int
    visible: bool
    document_id: UUID | None = None
    revision_id: int | None = None
    revision: int | None = None
    title: str = ""
    page: int | None = None
    start: int = 0
    end: int = 0
    quote: str = ""


@dataclass(frozen=True)
class ShownAnswer:
    """A stored answer as one reader sees it."""

    id: UUID
    question: str
    state: str
    text: str
    citations: tuple[ShownCitation, ...]
    error: str = ""
    degraded: str = ""
    model: str = ""
    version: str = ""


def shown_to(user: Reader, answer: Answer) -> ShownAnswer:
    """The answer without the quotes and claims whose documents are gone or closed to this reader."""
    visible = visible_documents(user, answer)
    citations = tuple(shown_citation(citation, visible) for citation in stored_citations(answer))
    allowed = {citation.marker for citation in citations if citation.visible}
    whole = len(allowed) == len(citations) and visible.issuperset(answer.given)
    return ShownAnswer(
        id=answer.pk,
        question=answer.query.text,
        state=answer.state,
        text=answer.text if whole else redacted(answer.text, allowed),
        citations=citations,
        error=answer.error,
        degraded=answer.query.degraded,
        model=answer.model,
        version=versions_of(answer.query),
    )


def versions_of(query: Query) -> str:
    """The names of what served a query, one for each index, as its results named it."""
    names = {
        version.pk: str(version)
        for version in IndexVersion.objects.select_related("index").filter(pk__in=query.versions)
    }
    return ", ".join(names[pk] for pk in query.versions if pk in names)


def stored_citations(answer: Answer) -> list[Citation]:
    heavy = ("revision__text", "revision__pages", "revision__headings")
    return list(answer.citations.select_related("document", "revision").defer(*heavy))


def visible_documents(user: Reader, answer: Answer) -> set[UUID]:
    """Those that the answer was made from, as far as this reader may see them."""
    visible = Document.objects.visible_to(user).filter(pk__in=answer.given)
    return set(visible.values_list("pk", flat=True))


def shown_citation(citation: Citation, visible: set[UUID]) -> ShownCitation:
    document, revision = citation.document, citation.revision
    if document is None or revision is None or document.pk not in visible:
        return ShownCitation(citation.marker, visible=False)
    return ShownCitation(
        marker=citation.marker,
        visible=True,
        document_id=document.pk,
        revision_id=revision.pk,
        revision=revision.number,
        title=revision.title or document.title,
        page=citation.page,
        start=citation.start,
        end=citation.end,
        quote=citation.quote,
    )
