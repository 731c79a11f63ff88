"""The whole way through the web server: one reader, many at once, and while documents are put in."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from kb.documents.models import Chunk
from retrieval.chunking import chunk
from retrieval.embedders.local import default_tokenizer
from retrieval.loading.language import language_of
from retrieval.loading.loaders import load
from tests.benchmarks import clauses
from tests.benchmarks.loads import Api, Locks, Whole, crowd, milliseconds, open_loop, say
from tests.benchmarks.made_up import Made
from tests.live import Site

PUT_IN = 5_000  # chunks
SATURATION = 0.2  # the share of it that the open loop asks for
IDLE_SECONDS = 30
LOCK_MILLISECONDS = 10
TEXTS_PER_FILE, WORDS_PER_SENTENCE = 40, 14


def questions(made: Made, turn: int) -> list[str]:
    """The same terms, begun with another one: the same work for both arms, and another text to embed."""
    turned = ([*terms[turn:], *terms[:turn]] for terms in made.questions())
    return [" ".join(terms) for terms in turned]


def whole(api: Api) -> Whole:
    return Whole(api.search, lambda found: found["degraded"] or ("" if found["passages"] else "no passages"))


def rounds(made: Made, api: Api, turn: int) -> dict[str, dict[str, list[float]]]:
    """Questions that nobody asked before, then the same again, so that their vectors are cached."""
    asked = questions(made, turn)
    for question in asked[:5]:
        api.search(f"{question} {question}")  # the server's own first steps in this corpus
    time.sleep(2)  # it counts its vectors meanwhile
    search = whole(api)
    first = [milliseconds(partial(search, question)) for question in asked]
    again = [milliseconds(partial(search, question)) for question in asked * 3]
    if search.errors:
        raise AssertionError(search.errors[:3])
    return {clauses.THROUGH_THE_API: {clauses.FIRST: first, clauses.CACHED: again}}


def crowded(made: Made, api: Api, turn: int) -> tuple[list[float], float, list[str]]:
    """Sixteen readers at once, whose questions were asked before: milliseconds, answers a second, errors."""
    search = whole(api)
    taken, seconds = crowd(search, questions(made, turn))
    return taken, len(taken) / seconds, search.errors


# While documents are put in -----------------------------------------------------------------------


def while_putting_in(made: Made, api: Api, running: Site, wanted: int, turn: int) -> dict[str, Any]:
    """An open loop of searches at a fifth of what the site can do, idle and while chunks are put in."""
    asked, search = questions(made, turn), whole(api)
    for question in asked:
        search(question)
    taken, seconds = crowd(search, asked)
    pause = seconds / len(taken) / SATURATION
    say(f"  a search every {1000 * pause:.0f} ms")

    def ask(number: int) -> None:
        search(asked[number % len(asked)])

    folder, meant = files(made, wanted, Path(tempfile.mkdtemp(dir=running.home)))
    before, locks = Chunk.objects.count(), Locks(running, LOCK_MILLISECONDS)
    idle = open_loop(ask, pause, lambda: time.sleep(IDLE_SECONDS))
    began = time.perf_counter()
    given = ("ingest", str(folder), "--collection", made.collection.slug, "--wait")
    busy = open_loop(ask, pause, lambda: running.manage(*given, seconds=1800))
    waited, _ = locks.waited()
    return {
        "milliseconds": {clauses.IDLE: idle, clauses.BUSY: busy},
        "errors": search.errors,
        "chunks meant": meant,
        "chunks put in": Chunk.objects.count() - before,
        "chunks a second": round((Chunk.objects.count() - before) / (time.perf_counter() - began), 1),
        "locks": len(waited),  # waited for longer than LOCK_MILLISECONDS
        "waiting statements": waited[:5],
    }


def files(made: Made, wanted: int, folder: Path) -> tuple[Path, int]:
    """Texts of made-up words that are cut into `wanted` chunks or some more: their folder, and how many it is.

    None of them looks like a language, since the questions would be searched in that as well.
    """
    count = number = 0
    while count < wanted:
        text = "\n\n".join(map(sentences, made.generator.batch(TEXTS_PER_FILE).words()))
        number += 1
        if language_of(text):
            continue
        count += len(list(chunk(load(text.encode(), "made-up.txt"), default_tokenizer())))
        (folder / f"{number}.txt").write_text(text)
    return folder, count


def sentences(words: list[str]) -> str:
    starts = range(0, len(words), WORDS_PER_SENTENCE)
    return " ".join(" ".join(words[at : at + WORDS_PER_SENTENCE]).capitalize() + "." for at in starts)
