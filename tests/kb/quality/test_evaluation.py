"""Evaluation runs the real pipeline in a database of its own and leaves nothing behind."""

import json
import os
from io import StringIO
from pathlib import Path
from typing import NoReturn

import numpy as np
import psycopg
import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection

from kb.core import pools
from kb.core.models import User
from kb.core.problems import Problem
from kb.documents.models import Document
from kb.quality import evaluation, scratch
from kb.quality.datasets import demo_questions, files, judged, sampled
from kb.quality.declining import Trial, best_threshold, count, halves
from kb.quality.scoring import Baseline, Independent
from kb.quality.vector_cache import CachedEmbedder
from kb.search.profiles import default_profile, revise_profile
from retrieval import bm25
from retrieval.analysis import analyse
from retrieval.beir import Dataset, Entry, read_beir
from retrieval.embedders.hashing import HashingEmbedder
from retrieval.loading.loaders import load
from retrieval.protocols import Postings
from retrieval.ranking import Retriever

TOPICS = ["apples", "bridges", "comets", "dialects", "engines", "fungi", "glaciers", "harps"]


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Eight documents, each answering one query; one more query has no relevant document."""
    corpus = [
        {"_id": f"d{i}", "title": topic, "text": f"This tells of {topic} & <{topic}>."}
        for i, topic in enumerate(TOPICS)
    ]
    queries = [{"_id": f"q{i}", "text": f"What is known of {topic}?"} for i, topic in enumerate(TOPICS)]
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, rows in (("corpus", corpus), ("queries", [*queries, {"_id": "none", "text": "nothing"}])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judgements = "".join(f"q{i}\td{i}\t1\n" for i in range(len(TOPICS)))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgements}none\td0\t0\n")
    return folder


def databases() -> set[str]:
    with psycopg.connect(**pools.parameters(), autocommit=True) as connected:
        return {name for (name,) in connected.execute("SELECT datname FROM pg_database").fetchall()}


def evaluated(*arguments: str) -> dict:
    out = StringIO()
    call_command("evaluate", *arguments, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


@pytest.mark.django_db(transaction=True)
def test_a_collection_is_scored_and_nothing_is_left(beir: Path, settings: object, tmp_path: Path) -> None:
    settings.KB_HOME = tmp_path
    name = connection.settings_dict["NAME"]
    report = evaluated("--beir", str(beir))
    assert (report["dataset"], report["documents"], report["queries"]) == ("tiny", 8, 8)
    assert set(report["arms"]) == {"dense", "lexical", "hybrid", "independent_bm25", "rank_bm25"}
    assert report["lexical_difference"] == 0
    assert report["profile"] == str(default_profile())
    for arm in report["arms"].values():
        assert arm["ndcg@10"] == pytest.approx(1, abs=0.2)
        assert arm["p50_ms"] > 0
    assert report["arms"]["lexical"]["recall@10"] == 1
    mine = f"_{os.getpid()}_"  # another process may run its tests beside
    assert [left for left in databases() if left.startswith("footnote_evaluation") and mine in left] == []
    assert connection.settings_dict["NAME"] == name
    assert not Document.objects.exists()
    assert list((tmp_path / "cache").iterdir())


@pytest.mark.django_db(transaction=True)
def test_the_profile_of_the_site_is_measured(
    beir: Path, settings: object, tmp_path: Path, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight of 0: by words alone, whatever the meaning says."""
    settings.KB_HOME = tmp_path
    draft = default_profile()
    draft.dense_weight = 0.0
    made = revise_profile(admin, draft)
    weights: list[float] = []

    def noted(corpus: object, queries: object, retriever: Retriever, *_: object, **__: object) -> NoReturn:
        weights.append(retriever.weight)
        raise Problem("enough", "That is all.")

    monkeypatch.setattr(evaluation, "score", noted)
    with pytest.raises(CommandError, match="That is all"):
        evaluated("--beir", str(beir))
    assert weights == [made.dense_weight]


def test_an_independent_bm25_ranks_as_ours_in_any_language() -> None:
    texts = {
        3: ("The houses of the town", "en"),
        5: ("Die Häuser der Stadt", "de"),
        9: ("A house, a house", "en"),
    }
    terms = {chunk: analyse(text, language) for chunk, (text, language) in texts.items()}
    independent = Independent(list(terms.values()), k1=bm25.K1, b=bm25.B)
    inverted = [
        bm25.unpack(term, [block]) for term, block in bm25.invert(terms.items()) if term != bm25.EVERY
    ]
    postings = Postings(3, sum(map(len, terms.values())), tuple(inverted), np.empty(0, np.int32))
    for question, language in (("houses in town", "en"), ("Häuser", "de")):
        found = Baseline(independent, terms, [language]).search(question)
        ours = bm25.rank(postings, analyse(question, language), 10)
        assert found.ids[: len(ours)].tolist() == ours.ids.tolist()
        np.testing.assert_allclose(found.scores[: len(ours)], ours.scores)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_database_that_a_killed_run_left_is_swept() -> None:
    with psycopg.connect(**pools.parameters(), autocommit=True) as connected:
        left = f"{scratch.prefix(connected)}1_dead"
        connected.execute(f'CREATE DATABASE "{left}"')
    with scratch.scratch():
        assert left not in databases()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_database_in_use_is_not_swept() -> None:
    home = pools.parameters()
    with scratch.scratch():
        mine = connection.settings_dict["NAME"]
        with psycopg.connect(**home, autocommit=True) as other:
            assert scratch.sweep(other) == []
        assert mine in databases()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_run_from_another_database_of_the_server_is_left_alone() -> None:
    elsewhere = pools.parameters() | {"dbname": "postgres"}
    with scratch.scratch():
        mine = connection.settings_dict["NAME"]
        with psycopg.connect(**elsewhere, autocommit=True) as other:
            assert scratch.sweep(other) == []
        assert mine in databases()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_it_has_a_cache_of_its_own() -> None:
    cache.set("parse-wake:1", "the site's")
    with scratch.scratch():
        assert cache.get("parse-wake:1") is None
        cache.set("parse-wake:1", "the run's")
    assert cache.get("parse-wake:1") == "the site's"
    with scratch.scratch():
        assert cache.get("parse-wake:1") is None


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"corpus\.jsonl"):
        call_command("evaluate", "--beir", str(tmp_path))


def test_a_sample_keeps_what_was_judged(beir: Path) -> None:
    dataset = read_beir(beir)
    assert len(judged(dataset)) == 8
    small = sampled(dataset, 3)
    assert len(small.queries) == 3
    assert small == sampled(dataset, 3), "the sample is seeded"
    for query in small.queries:
        assert set(small.judgements[query]) <= set(small.corpus)


def test_documents_keep_title_and_words_through_the_loader() -> None:
    text = "a < b & c\nsecond line"
    dataset = Dataset("x", {"d": Entry("Titles & <tags>", text), "empty": Entry("t", " ")}, {}, {})
    [(name, filename, content)] = list(files(dataset.corpus))
    loaded = load(content, filename)
    assert (name, loaded.title) == ("d", "Titles & <tags>")
    assert loaded.text.split() == text.split()


def test_cached_vectors_are_the_embedders_own(tmp_path: Path) -> None:
    class Counting(HashingEmbedder):
        seen = 0

        def embed(self, texts: list, kind: str) -> np.ndarray:
            Counting.seen += len(texts)
            return super().embed(texts, kind)

    cached, plain = CachedEmbedder(Counting(), tmp_path / "v.sqlite"), HashingEmbedder()
    texts = [f"text number {number}" for number in range(700)]
    for _ in range(2):
        np.testing.assert_array_equal(cached.embed(texts, "document"), plain.embed(texts, "document"))
    assert Counting.seen == 700
    cached.embed(texts[:1], "query")
    assert Counting.seen == 701, "a question is not a document"


TRIALS = [Trial(f"a{i}", 0.5 + i / 100, True) for i in range(10)] + [
    Trial(f"u{i}", i / 100, False) for i in range(4)
]


def test_the_threshold_stands_in_the_gap() -> None:
    threshold = best_threshold(TRIALS)
    assert 0.03 < threshold < 0.5
    counted = count(TRIALS, threshold)
    assert (counted.unanswerable_declined, counted.answerable_declined) == (4, 0)


def test_halves_share_each_kind() -> None:
    first, second = halves(TRIALS)
    assert [sum(trial.answerable for trial in half) for half in (first, second)] == [5, 5]
    assert {trial.id for trial in first} | {trial.id for trial in second} == {trial.id for trial in TRIALS}


def test_the_demo_questions_are_as_many_as_promised() -> None:
    questions = demo_questions()
    kinds = [question.kind for question in questions]
    assert len(questions) == 80
    assert kinds.count("unanswerable") == 10
    assert kinds.count("two-documents") >= 5
    assert kinds.count("identifier") >= 8
    assert len({question.id for question in questions}) == 80
