"""Models are registered as what they are, and refused when they are not that any more."""

import json
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from django.core.management import CommandError, call_command

from kb.core.models import AuditEntry, Collection, User
from kb.core.problems import Problem
from kb.indexes import providers
from kb.indexes.model_actions import NewModel, register, try_out
from kb.indexes.models import EmbeddingJob, EmbeddingModel, Index, IndexVersion
from kb.indexes.version_actions import Wanted, build
from retrieval.embedders.hashing import HashingEmbedder
from tests.kb.indexes.counting import Counting, embed_all
from tests.kb.indexes.rows import chunked, table
from tests.kb.indexes.versions import built
from tests.retrieval.embedders.tiny import static_model, tiny_model

pytestmark = pytest.mark.django_db
URL = "http://endpoint.test/v1"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def nothing_held(settings: Any) -> Iterator[None]:
    settings.EMBED_BACKEND = "torch-float32"
    yield
    providers._held.clear()
    providers._made.cache_clear()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An endpoint; `requests` are the bodies, `answer` makes the rows."""
    state: dict[str, Any] = {"requests": [], "answer": hashed}

    def respond(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        state["requests"].append(body)
        data = [
            {"index": n, "embedding": row, "object": "embedding"}
            for n, row in enumerate(state["answer"](body))
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return httpx2.Response(
            200, json={"object": "list", "model": body["model"], "data": data, "usage": usage}
        )

    def client(base_url: str) -> openai.OpenAI:
        transport = httpx2.MockTransport(respond)
        return openai.OpenAI(
            api_key="-", base_url=base_url, max_retries=0, http_client=httpx2.Client(transport=transport)
        )

    monkeypatch.setattr(providers, "client", client)
    return state


def hashed(body: dict[str, Any]) -> list[list[float]]:
    return HashingEmbedder(body.get("dimensions", 48)).embed(body["input"], "document").tolist()


class TestLocal:
    def test_a_directory_is_registered_as_what_its_files_say(self, tiny: Path, admin: User) -> None:
        model = register(admin, NewModel(str(tiny), matryoshka=(8,)))
        assert (model.provider, model.name, model.dimensions, model.max_tokens) == (
            "local",
            str(tiny),
            16,
            32,
        )
        assert (model.query_prompt, model.document_prompt, model.pooling) == ("query ", "passage ", "mean")
        assert len(model.weights_sha256) == 64
        assert model.training == {"matryoshka": [8]}
        assert AuditEntry.objects.get(verb="register").actor == admin

    def test_twice_is_once(self, tiny: Path) -> None:
        assert register(None, NewModel(str(tiny))) == register(None, NewModel(f"{tiny}/."))

    def test_prompts_of_ones_own_are_kept_and_used(self, tiny: Path) -> None:
        model = register(None, NewModel(str(tiny), document_prompt="a ", query_prompt=""))
        assert (model.query_prompt, model.document_prompt) == ("", "a ")
        card = providers.embedder(model).describe()
        assert (card.query_prompt, card.document_prompt) == ("", "a ")
        with pytest.raises(Problem, match="other dimensions or prompts"):
            register(None, NewModel(str(tiny)))
        assert register(None, NewModel(str(tiny), revision="as published")) != model

    def test_a_static_model_will_do(self, tmp_path: Path) -> None:
        model = register(None, NewModel(str(static_model(tmp_path))))
        assert try_out(model).dimensions == model.dimensions == 16

    def test_other_weights_under_the_same_name_are_another_model_and_the_old_one_is_refused(
        self, tmp_path: Path
    ) -> None:
        place = tiny_model(tmp_path / "one")
        first = register(None, NewModel(str(place)))
        assert try_out(first).ok
        shutil.rmtree(place)
        shutil.copytree(tiny_model(tmp_path / "two", seed=1), place)
        providers._held.clear()
        trial = try_out(first)
        assert not trial.ok
        assert first.weights_sha256 in trial.problems[0]
        second = register(None, NewModel(str(place)))
        assert second != first
        assert try_out(second).ok

    def test_what_is_not_there_is_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(Problem, match="safetensors file in") as refused:
            register(None, NewModel(str(tmp_path / "empty")))
        assert refused.value.status == 422

    def test_numbers_that_it_does_not_have_are_refused(self, tiny: Path) -> None:
        with pytest.raises(Problem, match="16 dimensions"):
            register(None, NewModel(str(tiny), matryoshka=(16,)))


class TestEndpoint:
    def test_it_is_asked_how_many_dimensions_it_has(self, endpoint: dict[str, Any]) -> None:
        model = register(None, NewModel("m", URL, document_prompt="passage: ", query_prompt="query: "))
        assert (model.provider, model.dimensions, model.asks_dimensions) == ("openai", 48, False)
        providers.embedder(model).embed(["a"], "query")
        assert endpoint["requests"][-1]["input"] == ["query: a"]
        assert all("dimensions" not in body for body in endpoint["requests"])

    def test_dimensions_of_ones_own_are_asked_for_always(self, endpoint: dict[str, Any]) -> None:
        model = register(None, NewModel("m", URL, dimensions=24, price_per_million_tokens=Decimal("0.02")))
        assert (model.dimensions, model.asks_dimensions) == (24, True)
        assert try_out(EmbeddingModel.objects.get(pk=model.pk)).ok
        assert {body["dimensions"] for body in endpoint["requests"]} == {24}

    def test_an_endpoint_that_gives_other_dimensions_now_is_told_of(self, endpoint: dict[str, Any]) -> None:
        model = register(None, NewModel("m", URL))
        endpoint["answer"] = lambda body: [[1.0, 2.0] for _ in body["input"]]
        providers._made.cache_clear()
        assert "2 dimensions came instead of 48" in try_out(model).problems[0]

    def test_one_vector_for_everything_is_told_of(self, endpoint: dict[str, Any]) -> None:
        endpoint["answer"] = lambda body: [[1.0, 2.0] for _ in body["input"]]
        assert "same vector" in try_out(register(None, NewModel("m", URL))).problems[0]

    def test_its_key_is_its_own(self, settings: Any) -> None:
        settings.LLM_API_KEY, settings.EMBEDDINGS_API_KEY = "for the language model", ""
        assert providers.client(URL).api_key == "none"
        settings.EMBEDDINGS_API_KEY = "for embeddings"
        made = providers.client(URL)
        assert (made.api_key, made.max_retries) == ("for embeddings", 0)


@pytest.mark.django_db(transaction=True)
class TestBuild:
    @pytest.fixture(autouse=True)
    def stocked(self, version: IndexVersion, collection: Collection) -> None:
        chunked(version, collection, ["the cats sleep", "bread is baked from flour"])
        embed_all(version, Counting(version))

    def test_a_registered_model_makes_another_space(self, index: Index, tiny: Path) -> None:
        model = register(None, NewModel(str(tiny), max_tokens=256))
        made = built(build(None, index, Wanted(model=model)))
        assert (made.state, made.dimensions) == ("validating", 16)
        assert len(table(made)) == 2

    def test_a_model_that_reads_less_than_a_chunk_is_refused(self, index: Index, tiny: Path) -> None:
        with pytest.raises(Problem) as refused:
            build(None, index, Wanted(model=register(None, NewModel(str(tiny)))))
        assert refused.value.code == "too_long"

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (lambda body: [[1.0] * 24 for _ in body["input"]], "24 dimensions came instead of 48"),
            (lambda body: [[0.0] * 48 for _ in body["input"]], "zero or not finite"),
        ],
    )
    def test_a_provider_that_errs_fails_the_build_and_nothing_else(
        self,
        index: Index,
        version: IndexVersion,
        endpoint: dict[str, Any],
        answer: Callable[[dict[str, Any]], list[list[float]]],
        error: str,
    ) -> None:
        made = build(None, index, Wanted(model=register(None, NewModel("m", URL))))
        endpoint["answer"] = answer
        for _ in range(EmbeddingJob.MOST_ATTEMPTS):
            EmbeddingJob.objects.filter(attempts__lt=EmbeddingJob.MOST_ATTEMPTS).update(lease_until=None)
            built(made)
        made.refresh_from_db()
        assert made.state == "failed"
        assert error in made.error
        assert table(made) == {}
        assert len(table(version)) == 2
        assert Index.objects.get(pk=index.pk).live_version == version

    def test_weights_that_change_during_the_build_are_refused(
        self, index: Index, tmp_path: Path, version: IndexVersion
    ) -> None:
        place = tiny_model(tmp_path / "one")
        made = build(None, index, Wanted(model=register(None, NewModel(str(place), max_tokens=256))))
        shutil.rmtree(place)
        shutil.copytree(tiny_model(tmp_path / "two", seed=1), place)
        for _ in range(EmbeddingJob.MOST_ATTEMPTS):
            EmbeddingJob.objects.filter(attempts__lt=EmbeddingJob.MOST_ATTEMPTS).update(lease_until=None)
            built(made)
        made.refresh_from_db()
        assert made.state == "failed"
        assert "have sha256" in made.error
        assert table(made) == {}


class TestCommands:
    def said(self, *arguments: str) -> Any:
        out = StringIO()
        call_command("index", *arguments, "--json", stdout=out)
        return json.loads(out.getvalue())

    def test_registered_tried_and_listed(self, tiny: Path, admin: User) -> None:
        made = self.said("register", str(tiny), "--matryoshka", "8,4", "--price", "0.1")
        assert (made["dimensions"], made["training"]) == (16, {"matryoshka": [4, 8]})
        assert self.said("try", "model")["ok"] is True
        assert [row["name"] for row in self.said("models")] == [str(tiny)]
        out = StringIO()
        call_command("index", "models", stdout=out)
        assert "16 dimensions; also its first 4, 8; weights " in out.getvalue()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--price", "cheap"), "no price"),
            (("--price", "-1"), "no price"),
            (("--matryoshka", "x"), "no numbers"),
        ],
    )
    def test_nonsense_is_refused(self, admin: User, arguments: tuple[str, ...], words: str) -> None:
        with pytest.raises(CommandError, match=words):
            self.said("register", "m", *arguments)

    def test_a_model_that_fails_says_so_by_the_status(self, admin: User, tmp_path: Path) -> None:
        EmbeddingModel.objects.create(
            provider="local", name=str(tmp_path), dimensions=16, max_tokens=32, weights_sha256="0" * 64
        )
        with pytest.raises(SystemExit):
            self.said("try", str(tmp_path))
