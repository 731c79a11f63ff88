"""Registers embedding models, and tries them out."""

import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
from django.db import transaction

from kb.core.auditing import record
from kb.core.problems import Problem
from kb.indexes import providers
from kb.indexes.lifecycle import Actor
from kb.indexes.models import EmbeddingModel
from retrieval.embedders import EmbeddingError, ModelCard
from retrieval.embedders.local import LocalEmbedder
from retrieval.embedders.model_files import ModelMissing
from retrieval.embedders.openai_compatible import OpenAIEmbedder

Provider = EmbeddingModel.Provider
LONGEST_NAME = 200
PROBES = ("What is a footnote?", "A footnote is a note at the foot of a page.")
ALIKE = 0.9999  # a model that gives one vector to two texts tells nothing apart


@dataclass(frozen=True)
class NewModel:
    """What a person says of a model; the rest it says itself. Prompts that are None are the model's own.

    `name` is a directory or a name on the Hugging Face Hub, or, with `base_url`, what the endpoint calls
    it. `dimensions` is for an endpoint that can be told. `matryoshka` are the numbers of its first
    dimensions that were trained to stand alone.
    """

    name: str
    base_url: str = ""
    revision: str = ""
    dimensions: int | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_tokens: int | None = None
    price_per_million_tokens: Decimal | None = None
    licence: str = ""
    matryoshka: tuple[int, ...] = ()
    training_set_sha256: str = ""


@dataclass(frozen=True)
class Trial:
    """What a model did with two texts: dimensions, seconds for each, and how near their vectors are."""

    dimensions: int
    seconds: float
    cosine: float
    problems: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return not self.problems


def register(actor: Actor, new: NewModel) -> EmbeddingModel:
    """The registry's row of the model, made if there is none: it is loaded, or asked, to see what it is.

    The same name with other weights is another model. Raises Problem for one that is not there or does not answer.
    """
    if len(place(new)) > LONGEST_NAME:
        raise Problem("invalid", f"The name is longer than {LONGEST_NAME} characters.", 422, field="name")
    card = card_of(new)
    wrong = [number for number in new.matryoshka if not 0 < number < card.dimensions]
    if wrong:
        raise Problem(
            "invalid", f"The model has {card.dimensions} dimensions, not more than {wrong[0]}.", 422,
            field="matryoshka",
        )  # fmt: skip
    return kept(actor, new, card)


@transaction.atomic
def kept(actor: Actor, new: NewModel, card: ModelCard) -> EmbeddingModel:
    training = {"matryoshka": sorted(new.matryoshka), "training_set_sha256": new.training_set_sha256}
    model, made = EmbeddingModel.objects.get_or_create(
        provider=Provider.OPENAI if new.base_url else Provider.LOCAL,
        name=place(new),
        revision=new.revision or card.revision,
        weights_sha256=card.weights_sha256,
        base_url=new.base_url,
        defaults={
            "dimensions": card.dimensions,
            "asks_dimensions": bool(new.base_url and new.dimensions),
            "max_tokens": new.max_tokens or card.max_tokens or 0,
            "query_prompt": card.query_prompt,
            "document_prompt": card.document_prompt,
            "pooling": card.pooling,
            "licence": new.licence or card.licence,
            "price_per_million_tokens": new.price_per_million_tokens,
            "training": {name: value for name, value in training.items() if value},
        },
    )
    if made:
        record(actor, "register", model, weights=model.weights_sha256, base_url=model.base_url)
    elif (model.dimensions, model.query_prompt, model.document_prompt) != (
        card.dimensions, card.query_prompt, card.document_prompt,
    ):  # fmt: skip
        raise Problem(
            "registered_otherwise",
            f"{model} is registered with other dimensions or prompts, and vectors are made with those: "
            "register it with a --revision of your own to tell the two apart.",
            409,
        )
    return model


def place(new: NewModel) -> str:
    """The name under which every process finds it: of a directory the whole path."""
    return str(Path(new.name).resolve()) if not new.base_url and Path(new.name).is_dir() else new.name


def card_of(new: NewModel) -> ModelCard:
    try:
        if new.base_url:
            return OpenAIEmbedder(
                providers.client(new.base_url),
                new.name,
                dimensions=new.dimensions,
                query_prompt=new.query_prompt or "",
                document_prompt=new.document_prompt or "",
            ).describe()
        return LocalEmbedder(
            place(new),
            revision=new.revision or None,
            query_prompt=new.query_prompt,
            document_prompt=new.document_prompt,
        ).describe()
    except (ModelMissing, EmbeddingError, OSError, ValueError) as error:
        raise Problem("model_unavailable", f"{new.name} cannot be used: {error}", 422) from error


def try_out(model: EmbeddingModel) -> Trial:
    """Embeds two texts. What goes wrong is in the answer: other weights, an endpoint that is away, odd vectors."""
    began = time.perf_counter()
    try:
        embedder = providers.embedder(model)
        vectors = np.concatenate([embedder.embed([text], "document") for text in PROBES])
    except (ModelMissing, EmbeddingError, OSError, ValueError) as error:
        return Trial(0, 0.0, 0.0, (str(error),))
    seconds = (time.perf_counter() - began) / len(PROBES)
    cosine = float(vectors[0] @ vectors[1])
    problems = []
    if vectors.shape[1] != model.dimensions:
        problems.append(f"It gives {vectors.shape[1]} dimensions, and is registered with {model.dimensions}.")
    if cosine > ALIKE:
        problems.append("It gives the same vector to two texts that have little in common.")
    return Trial(vectors.shape[1], seconds, cosine, tuple(problems))
