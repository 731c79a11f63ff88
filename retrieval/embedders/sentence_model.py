"""A sentence-transformers model from its files, and what can be known of it without its weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from retrieval.embedders import EmbeddingError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Of unequal length, so that padding is seen, and with capitals, which a tokenizer may lower or not.
PROBES = ["Probe", "A longer Probe, with Capitals and a few more words."]


@dataclass(frozen=True)
class Facts:
    """What the files of a model say, in values that can be written to a file."""

    dimensions: int
    max_tokens: int | None
    pooling: str
    prompts: Mapping[str, str]
    pad_token: int


def loaded(directory: Path) -> "SentenceTransformer":
    """The model in float32 on the processor, its dropout switched off."""
    # Here and not above: they take seconds to import, and most processes never embed.
    import torch  # noqa: PLC0415
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs has no types
    model = SentenceTransformer(
        str(directory),
        device="cpu",
        local_files_only=True,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    return model.eval()


def facts(model: "SentenceTransformer") -> Facts:
    dimensions = model.get_embedding_dimension()
    if dimensions is None:
        raise EmbeddingError("The model does not say how many dimensions it has")
    modes = [getattr(module, "pooling_mode", None) for module in model]
    return Facts(
        dimensions=dimensions,
        max_tokens=limit(model),
        pooling=next((str(mode) for mode in modes if mode), ""),
        prompts={name: prompt for name, prompt in model.prompts.items() if prompt},
        pad_token=getattr(model.tokenizer, "pad_token_id", None) or 0,
    )


def limit(model: "SentenceTransformer") -> int | None:
    """The most tokens that the model reads; some models say infinity."""
    most = model.max_seq_length
    return most if isinstance(most, int) else None


def tokenizer(model: "SentenceTransformer") -> Tokenizer | None:
    """The model's own tokenizer, truncating and not padding; None where token ids are not all that it reads.

    Such models read pictures, have several inputs, pad on the left, or leave the prompt out of the mean.
    """
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer) or not all(
        getattr(module, "include_prompt", True) for module in model
    ):
        return None
    own = ready(backend.to_str(), limit(model))
    return own if reads_only_tokens(model, own) else None


def ready(published: str, max_tokens: int | None) -> Tokenizer:
    """A tokenizer from its JSON, truncating at `max_tokens` and not padding."""
    made = Tokenizer.from_str(published)
    made.no_padding()
    if max_tokens is None:
        made.no_truncation()
    else:
        made.enable_truncation(max_tokens)
    return made


def has_token_types(model: "SentenceTransformer") -> bool:
    return "token_type_ids" in model.preprocess(PROBES)


def reads_only_tokens(model: "SentenceTransformer", own: Tokenizer) -> bool:
    """Whether sentence-transformers gives the model the very tokens of `own`, padded right, and nothing more."""
    features = model.preprocess(PROBES)
    if (
        not {"input_ids", "attention_mask"}
        <= set(features)
        <= {
            "input_ids",
            "attention_mask",
            "token_type_ids",
            "modality",
        }
    ):
        return False
    if "token_type_ids" in features and features["token_type_ids"].any():
        return False
    rows = zip(features["input_ids"].tolist(), features["attention_mask"].tolist(), strict=True)
    return all(
        row[: len(encoding.ids)] == encoding.ids and sum(mask) == len(encoding.ids)
        for (row, mask), encoding in zip(rows, own.encode_batch(PROBES), strict=True)
    )
