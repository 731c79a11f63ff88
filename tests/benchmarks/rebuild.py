"""An index goes over to another model and back while people search: `make bench-rebuild`.

Prints a table and writes it to var/bench/rebuild.json. Four readers search in an open loop at a fifth of what the site
can do, while a version is built, validated, run in shadow, given to some readers, promoted and rolled back: on 50,000
made-up chunks with a fast static model, and on 5,000 real ones with the default model and a principal-component
variant of it. Counted are the queries that failed, the answers of a version that could not have served them or with
scores of another space, the locks waited for over 50 ms, and what an audit of all vectors finds at the end; then how
much faster fewer dimensions are derived than embedded. Times are milliseconds of this machine; what counts is their
ratios. What is promised stands beside its limit; exit status 1 if a promise is broken.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django

from retrieval import rollout
from retrieval.beir import read_beir
from tests.benchmarks.limits import Clause
from tests.benchmarks.loads import LOCK_MILLISECONDS, READERS, Api, Locks, crowd, figures, say, site
from tests.live import Site, until
from tests.places import ROOT, shared_data

RESULT = ROOT / "var" / "bench" / "rebuild.json"
CLIENTS = 4
MADE_UP, REAL = 50_000, 5_000
DIMENSIONS, FEWER = 384, 256
CANARY = 50  # percent of the readers
LONG = 3600.0
SCORES_DIFFER = 0.004  # half precision of the stored, bfloat16 of the asked
AUDITED = "findings of the audit"
MOST = {
    "failed": 0,
    "by a version that could not serve them": 0,
    "with scores of another space": 0,
    "p95 during the build, against idle": 1.3,
    f"locks waited for over {LOCK_MILLISECONDS} ms": 0,
    "promotion to the first answer, ms": 1000,
    "rollback to the first answer, ms": 1000,
    AUDITED: 0,
}
LEAST = {"derived as fast as embedded, times": 50}
STATE = "SELECT state FROM indexes_indexversion WHERE number = %s"


# A load of searches -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One search: when it was due, when it was answered (both in seconds), and by what, or how it failed.

    `words` are the question as it was searched: a word that no passage has gives way to the nearest.
    """

    reader: str
    question: str
    due: float
    done: float
    version: str = ""
    error: str = ""
    words: str = ""
    scores: dict[int, float] = field(default_factory=dict)

    @property
    def milliseconds(self) -> float:
        return 1000 * (self.done - self.due)


@dataclass
class Load:
    """Four readers who go on searching, one search every `pause` seconds, until it is left."""

    apis: dict[str, Api]
    questions: Sequence[str]
    pause: float
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self.thread = threading.Thread(target=self.go_on)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    def go_on(self) -> None:
        names, number, due = list(self.apis), 0, time.time()
        with ThreadPoolExecutor(2 * READERS) as readers:
            while not self.over.is_set():
                question = self.questions[number % len(self.questions)]
                readers.submit(self.ask, names[number % len(names)], question, due)
                number, due = number + 1, due + self.pause
                time.sleep(max(0.0, due - time.time()))

    def ask(self, reader: str, question: str, due: float) -> None:
        try:
            found = self.apis[reader].search(question)
        except Exception as error:  # noqa: BLE001 (counted)
            self.asked.append(Asked(reader, question, due, time.time(), error=str(error)))
            return
        scores = {
            passage["chunk_id"]: passage["dense_score"]
            for passage in found["passages"]
            if passage["dense_score"] is not None
        }
        version, words = found["version"], found["words"]
        self.asked.append(Asked(reader, question, due, time.time(), version, words=words, scores=scores))

    def between(self, began: float, ended: float) -> list[Asked]:
        return [each for each in list(self.asked) if began <= each.due < ended]


def readers(running: Site, canary: str) -> dict[str, Api]:
    """The four by name: two that a canary of this version has, and two that it has not."""
    from kb.core.models import User

    chosen: dict[bool, list[str]] = {True: [], False: []}
    while min(map(len, chosen.values())) < CLIENTS // 2:
        user = User.objects.create_user(f"reader-{User.objects.count()}", password="unused-password")
        chosen[rollout.serves(canary, f"user {user.pk}", CANARY)].append(user.username)
    return {name: Api(running, name) for names in chosen.values() for name in names[: CLIENTS // 2]}


# What can go wrong --------------------------------------------------------------------------------


def mixed(asked: Sequence[Asked]) -> int:
    """Answers with a score that the question and the chunk do not have in the space of the version that is named."""
    return sum(not in_one_space(each) for each in once(asked))


def once(asked: Sequence[Asked]) -> list[Asked]:
    """Of the same question to the same version with the same answer one."""
    kept = {
        (each.question, each.version, tuple(each.scores.items())): each for each in asked if not each.error
    }
    return list(kept.values())


def in_one_space(asked: Asked) -> bool:
    from django.db import connection
    from pgvector import Vector

    from kb.indexes.embedding_table import typed
    from kb.indexes.models import IndexVersion

    version = next(
        each for each in IndexVersion.objects.select_related("index", "model") if str(each) == asked.version
    )
    statement = (
        f"SELECT chunk_id, 1 - (vector <=> %s::{typed(version).as_string(None)}) FROM {version.table} "
        "WHERE chunk_id = ANY(%s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [Vector(embedded(version.pk, asked.words)).to_text(), list(asked.scores)])
        right = dict(cursor.fetchall())
    return all(abs(right[chunk] - score) < SCORES_DIFFER for chunk, score in asked.scores.items())


def embedded(version_id: int, question: str) -> Any:
    from kb.indexes import providers
    from kb.indexes.models import IndexVersion

    version = IndexVersion.objects.select_related("model").get(pk=version_id)
    return providers.embedder_for(version).embed([question], "query")[0]


# A life of a version ------------------------------------------------------------------------------


class Life:
    """Takes a new version through its life under the load, and notes when each part of it began and ended."""

    def __init__(self, running: Site, questions: Sequence[str], model: Path) -> None:
        self.running, self.questions = running, questions
        registered = running.manage("index", "register", str(model), "--matryoshka", str(FEWER), seconds=LONG)
        self.model = registered["name"]
        self.phases: dict[str, tuple[float, float]] = {}
        [(last,)] = running.sql("SELECT max(id) FROM indexes_indexversion")
        self.new = last + 1  # which the readers of its canary are chosen for
        self.apis = readers(running, str(self.new))
        [self.old] = {api.search(question)["version"] for api in self.apis.values() for question in questions}

    def run(self) -> dict[str, Any]:
        any_api = next(iter(self.apis.values()))
        taken, seconds = crowd(any_api.search, self.questions)
        pause = 5 * seconds / len(taken)
        say(f"  a search every {1000 * pause:.0f} ms")
        locks = Locks(self.running)
        with Load(self.apis, self.questions, pause) as load:
            with self.phase("idle"):
                time.sleep(30)
            with self.phase("build"):
                told = self.running.manage("index", "build", "--model", self.model)
                self.number, self.name = told["version"].partition("/")[2], self.name_of(self.new)
                until(lambda: self.state() == "validating", "the version to be built", LONG, every=0.5)
            with self.phase("validate"):
                self.validate()
            with self.phase("shadow"):
                self.running.manage("index", "shadow", self.number, "--share", "0.2")
                time.sleep(15)
            with self.phase("canary"):
                self.running.manage("index", "canary", self.number, "--percent", str(CANARY))
                time.sleep(15)
            promotion = self.switched("promote", self.number)
            self.promoted = self.moved_at("live")
            rollback = self.switched("rollback")
            with self.phase("idle again"):
                time.sleep(15)
        waited, own = locks.waited()
        audit = self.running.manage("index", "audit", seconds=LONG)
        return {
            "milliseconds": {name: self.times(load, name) for name in self.phases},
            "p95 during the build, against idle": self.against_idle(load),
            "queries": len(load.asked),
            "failed": len([each for each in load.asked if each.error]),
            "by a version that could not serve them": self.misled(load),
            "with scores of another space": mixed(load.asked),
            "verdict": self.verdict,
            "promotion to the first answer, ms": round(1000 * promotion),
            "rollback to the first answer, ms": round(1000 * rollback),
            f"locks waited for over {LOCK_MILLISECONDS} ms": len(waited),
            "waiting statements": waited[:5],
            "waits of the concurrent build for open transactions": own,
            "seconds of the build": round(self.phases["build"][1] - self.phases["build"][0], 1),
            AUDITED: len(audit["findings"]),
            "what it found": audit["findings"][:5],
        }

    def name_of(self, version: int) -> str:
        from kb.indexes.models import IndexVersion

        return str(IndexVersion.objects.select_related("index").get(pk=version))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        say(f"  {name}")
        began = time.time()
        yield
        self.phases[name] = (began, time.time())

    def state(self) -> str:
        [(found,)] = self.running.sql(STATE, self.number)
        return str(found)

    def validate(self) -> None:
        """A made-up corpus has no right answers, and its new model another opinion: an override lets it on."""
        from kb.core.models import User
        from kb.indexes.models import IndexVersion, ValidationReport
        from kb.indexes.version_actions import override

        if self.validated()["lets_on"]:
            self.verdict = "pass"
            return
        version = IndexVersion.objects.get(pk=self.new)
        report = ValidationReport.objects.filter(version=version).latest("at")
        self.verdict = f"fail, overridden: {' '.join(report.reasons)}"
        override(User.objects.get(username="admin"), version, "A benchmark of made-up texts")

    def validated(self) -> Any:
        return self.running.manage("index", "validate", self.number, seconds=LONG)

    def switched(self, command: str, *arguments: str) -> float:
        """Seconds from the transition to the first answer of what serves then, to one who goes on asking."""
        wanted, answered, over = (self.name if command == "promote" else self.old), [], threading.Event()
        api = self.apis[self.not_in_the_canary()]

        def look() -> None:
            while not over.is_set():
                version = api.search(self.questions[0])["version"]
                answered.append((time.time(), version))

        with self.phase(command), ThreadPoolExecutor(1) as looking:
            looker = looking.submit(look)
            self.running.manage("index", command, *arguments)
            time.sleep(5)
            over.set()
            looker.result()
        at = self.moved_at("live")
        return float(min(moment for moment, version in answered if moment >= at and version == wanted) - at)

    def not_in_the_canary(self) -> str:
        return next(name for name in self.apis if not self.has(name))

    def has(self, reader: str) -> bool:
        """Whether the canary has this reader."""
        from kb.core.models import User

        who = f"user {User.objects.get(username=reader).pk}"
        return rollout.serves(str(self.new), who, CANARY)

    def moved_at(self, state: str) -> float:
        """When a version last came to this state, in seconds."""
        [(at,)] = self.running.sql("SELECT max(at) FROM indexes_indextransition WHERE after = %s", state)
        return float(at.timestamp())

    # What came of it

    def times(self, load: Load, phase: str) -> dict[str, float]:
        asked = load.between(*self.phases[phase])
        return figures([each.milliseconds for each in asked if not each.error]) | {"queries": len(asked)}

    def against_idle(self, load: Load) -> float:
        return round(self.times(load, "build")["p95"] / self.times(load, "idle")["p95"], 2)

    def misled(self, load: Load) -> int:
        """Answers by a version that did not serve this reader at any time while he waited, or a second before."""
        canary = {name for name in self.apis if self.has(name)}
        eras = [  # from when on what serves those whom the canary has, and the others
            (0.0, self.old, self.old),
            (self.moved_at("canary"), self.name, self.old),
            (self.promoted, self.name, self.name),
            (self.moved_at("live"), self.old, self.old),
        ]

        def legal(each: Asked) -> set[str]:
            ends = [began for began, _, _ in eras[1:]] + [float("inf")]
            return {
                those if each.reader in canary else others
                for (began, those, others), ended in zip(eras, ends, strict=True)
                if began <= each.done and each.due - 1 <= ended
            }

        return sum(each.version not in legal(each) for each in load.asked if not each.error)


def derived(life: Life) -> dict[str, float]:
    """How many vectors a second come from stored ones, by cutting them, and from the model."""
    from django.db import transaction

    from kb.documents.models import Chunk
    from kb.indexes import deriving, providers
    from kb.indexes.models import Index, IndexVersion
    from kb.indexes.version_actions import Wanted, build

    source = IndexVersion.objects.select_related("model").get(pk=life.new)
    with transaction.atomic():
        version = build(
            None, Index.objects.get(is_default=True), Wanted(model=source.model, dimensions=FEWER)
        )
        count, after, began = 0, 0, time.perf_counter()
        while (last := deriving.derive_portion(version, source, after)) is not None:
            after = last
        took = time.perf_counter() - began
        count = rows(version.table)
        transaction.set_rollback(True)
    texts = list(Chunk.objects.filter(chunking=source.chunking_id).values_list("text", flat=True)[:300])
    embedder = providers.embedder_for(source)
    embedder.embed(texts[:10], "document")
    began = time.perf_counter()
    embedder.embed(texts, "document")
    embedding = len(texts) / (time.perf_counter() - began)
    return {
        f"vectors of {FEWER} dimensions derived a second": round(count / took),
        "vectors embedded a second": round(embedding, 1),
        "derived as fast as embedded, times": round(count / took / embedding, 1),
    }


def rows(table: str) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


# The two runs -------------------------------------------------------------------------------------


def static_model(directory: Path) -> Path:
    """A fast second space: the mean of the default model's word vectors."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    from retrieval.embedders.model_files import default_directory

    full = SentenceTransformer(str(default_directory()), device="cpu", local_files_only=True)
    words = full[0].auto_model.get_input_embeddings().weight.detach().numpy()
    module = StaticEmbedding(full.tokenizer, embedding_weights=words)
    made = SentenceTransformer(modules=[module, Normalize()], device="cpu")
    made.save_pretrained(str(directory), create_model_card=False)
    return directory


def made_up(folder: Path, chunks: int) -> dict[str, Any]:
    with site(folder / "home", EMBED_THREADS="1") as running:
        django.setup()
        from tests.benchmarks.made_up import Made

        made = Made()
        made.grow(chunks)
        seen_by_all()
        questions = [" ".join(terms) for terms in made.questions()]
        return Life(running, questions, static_model(folder / "static")).run()


def real(folder: Path, chunks: int) -> dict[str, Any]:
    from retrieval.embedders.principal import principal

    dataset = read_beir(shared_data() / "scifact")
    judged = {document for found in dataset.judgements.values() for document in found}
    names = sorted(dataset.corpus, key=lambda name: name not in judged)
    texts = folder / "texts"
    texts.mkdir()
    for name in names[: int(chunks / 2.2)]:  # so many chunks has an abstract
        entry = dataset.corpus[name]
        (texts / f"{name}.md").write_text(f"# {entry.title}\n\n{entry.text}\n")
    with site(folder / "home", EMBED_THREADS="1") as running:
        django.setup()
        running.manage("ingest", str(texts), "--wait", seconds=LONG)
        running.manage("index", "questions", "--beir", str(shared_data() / "scifact"))
        seen_by_all()
        variant = principal(
            folder / "principal", [dataset.corpus[name].text for name in names[:800]], DIMENSIONS
        )
        life = Life(running, list(dataset.queries.values())[:60], variant)
        return life.run() | derived(life)


def seen_by_all() -> None:
    from kb.core.models import Collection

    Collection.objects.update(visibility=Collection.Visibility.SIGNED_IN)


PARTS: dict[str, tuple[Callable[[Path, int], dict[str, Any]], int]] = {
    "made-up": (made_up, MADE_UP),
    "real": (real, REAL),
}


def alone(part: str, chunks: int) -> dict[str, Any]:
    """In this process: Django knows one site."""
    with tempfile.TemporaryDirectory(prefix="footnote-bench-") as folder:
        return PARTS[part][0](Path(folder), chunks)


def judged(found: dict[str, Any]) -> list[Clause]:
    """What a part promises, as far as it has the numbers."""
    limits = {**MOST, **LEAST}
    return [Clause(name, found[name], MOST.get(name), LEAST.get(name)) for name in limits if name in found]


def in_a_process(part: str, chunks: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.rebuild", "--part", part, "--chunks", str(chunks)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return dict(json.loads(done.stdout))  # which is nothing where it failed: a broken promise is no failure


def table(result: dict[str, Any]) -> str:
    lines = [result["machine"]]
    for part, found in result["parts"].items():
        lines += [f"\n{part}", f"{'':44}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'queries':>10}"]
        for name, times in found["milliseconds"].items():
            shown = "".join(f"{times[cut]:>10.2f}" for cut in ("p50", "p95", "p99"))
            lines.append(f"  search: {name:34}{shown}{times['queries']:>10}")
        lines += [str(each) for each in judged(found)]
        told = {"milliseconds", *MOST, *LEAST}
        lines += [f"  {name}: {value}" for name, value in found.items() if name not in told]
    return "\n".join(lines)


def main() -> int:
    """The exit status: 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="print this one as JSON, and write no file")
    parser.add_argument("--chunks", type=int, help="of that part")
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    if asked.part:
        found = alone(asked.part, asked.chunks or PARTS[asked.part][1])
        sys.stdout.write(json.dumps(found, ensure_ascii=False))
        return broken([found])
    parts = {}
    for part, (_, chunks) in PARTS.items():
        title = f"{chunks:,} {part} chunks"
        say(title)
        parts[title] = in_a_process(part, chunks)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    clauses = {title: [each.as_dict() for each in judged(found)] for title, found in parts.items()}
    result = {"machine": machine, "parts": parts, "clauses": clauses}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False))
    sys.stdout.write(f"{table(result)}\nWritten to {RESULT.relative_to(ROOT)}\n")
    return broken(parts.values())


def broken(parts: Iterable[dict[str, Any]]) -> int:
    return int(not all(each.kept for found in parts for each in judged(found)))


if __name__ == "__main__":
    sys.exit(main())
