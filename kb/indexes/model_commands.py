"""The subcommands of `manage.py index` about embedding models: which there are, new ones, and whether they work."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from kb.core.people import acting
from kb.core.problems import Problem
from kb.indexes import model_actions
from kb.indexes.model_actions import NewModel
from kb.indexes.models import EmbeddingModel
from kb.indexes.naming import model_named

Options: TypeAlias = Mapping[str, Any]
Say: TypeAlias = Callable[[Any, str], None]


def add(subparsers: Any) -> None:
    """Adds this module's subcommands."""
    subparsers.add_parser("models", help="the embedding models that are registered").set_defaults(run=models)
    trying = subparsers.add_parser("try", help="have a model embed two texts; exit status 1 if it cannot")
    trying.add_argument("model", metavar="NAME")
    trying.set_defaults(run=try_out)
    parser = subparsers.add_parser(
        "register",
        help="register an embedding model: a directory, a name on the Hub, or one behind an endpoint",
    )
    parser.add_argument("name", help="a directory, a name on the Hub, or what the endpoint calls it")
    parser.add_argument("--base-url", default="", metavar="URL", help="of an OpenAI-compatible endpoint")
    parser.add_argument("--revision", default="")
    parser.add_argument("--dimensions", type=int, metavar="N", help="ask the endpoint for so many")
    parser.add_argument("--query-prompt", help="default: as the model's files say")
    parser.add_argument("--document-prompt")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="that it reads, where it does not say so")
    parser.add_argument("--price", metavar="AMOUNT", help="for a million tokens")
    parser.add_argument("--licence", default="")
    parser.add_argument(
        "--matryoshka", default="", metavar="N,N", help="how many of its first dimensions stand alone"
    )
    parser.add_argument("--training-set-sha256", default="", metavar="HASH", help="of a fine-tuned model")
    parser.add_argument("--as", dest="username", metavar="USER", help="default: the first administrator")
    parser.set_defaults(run=register)


def models(options: Options, say: Say) -> None:  # noqa: ARG001 (called like the others)
    rows = [told(model) for model in EmbeddingModel.objects.order_by("pk")]
    say(rows, "\n".join(line(row) for row in rows) or "No model is registered: run `manage.py prepare`.")


def register(options: Options, say: Say) -> None:
    new = NewModel(
        **{
            name: options[name]
            for name in (
                "name", "base_url", "revision", "dimensions", "query_prompt", "document_prompt", "max_tokens",
                "licence", "training_set_sha256",
            )
        },
        price_per_million_tokens=amount(options["price"]),
        matryoshka=numbers(options["matryoshka"]),
    )  # fmt: skip
    row = told(model_actions.register(acting(options["username"]), new))
    say(row, line(row))


def try_out(options: Options, say: Say) -> None:
    model = model_named(options["model"])
    trial = model_actions.try_out(model)
    works = f"{model} works: {trial.dimensions} dimensions, {1000 * trial.seconds:,.0f} ms a text."
    say(asdict(trial) | {"ok": trial.ok}, works if trial.ok else f"{model}: {' '.join(trial.problems)}")
    if not trial.ok:
        sys.exit(1)


def amount(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation as error:
        raise Problem("invalid", f"{text!r} is no price.", 422, field="price") from error
    if not 0 <= found < 10**6:
        raise Problem("invalid", f"{text!r} is no price.", 422, field="price")
    return found


def numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise Problem("invalid", f"{text!r} are no numbers: write 256,128.", 422, field="matryoshka")
    return tuple(int(part) for part in parts)


def told(model: EmbeddingModel) -> dict[str, Any]:
    """A model for programs."""
    price = model.price_per_million_tokens
    return {
        "id": model.pk,
        "name": model.name,
        "provider": model.provider,
        "revision": model.revision,
        "weights_sha256": model.weights_sha256,
        "dimensions": model.dimensions,
        "max_tokens": model.max_tokens or None,
        "query_prompt": model.query_prompt,
        "document_prompt": model.document_prompt,
        "base_url": model.base_url,
        "price_per_million_tokens": None if price is None else float(price),
        "training": model.training,
    }


def line(row: Mapping[str, Any]) -> str:
    """A model for people."""
    parts = [f"{row['name']}: {row['provider']}, {row['dimensions']} dimensions"]
    if row["training"].get("matryoshka"):
        parts.append(f"also its first {', '.join(map(str, row['training']['matryoshka']))}")
    if row["base_url"]:
        parts.append(row["base_url"])
    if row["weights_sha256"]:
        parts.append(f"weights {row['weights_sha256'][:12]}")
    return "; ".join(parts)
