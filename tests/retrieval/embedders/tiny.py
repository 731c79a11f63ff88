"""Tiny sentence-transformers models, made on the spot: their vectors mean nothing, but always the same."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = [
    "the",
    "a",
    "of",
    "and",
    "cats",
    "dogs",
    "sleep",
    "vectors",
    "index",
    "database",
    "bread",
    "is",
    "baked",
    "from",
    "flour",
    "query",
    "passage",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
DIMENSIONS, MAX_TOKENS = 16, 32


def tiny_tokenizer() -> Tokenizer:
    """Knows a few words in lower case; puts [CLS] before and [SEP] behind."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def tiny_model(
    directory: Path, *, seed: int = 0, padding_side: str = "right", include_prompt: bool = True
) -> Path:
    """A BERT of two layers with random weights, as files."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=DIMENSIONS,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=MAX_TOKENS,
    )
    parts = directory / "parts"
    BertModel(config).save_pretrained(parts)
    PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer(),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=padding_side,
        model_max_length=MAX_TOKENS,
    ).save_pretrained(parts)
    pooling = Pooling(DIMENSIONS, pooling_mode="mean", include_prompt=include_prompt)
    prompts = {"query": "query ", "document": "passage "}
    model = SentenceTransformer(modules=[Transformer(str(parts)), pooling], prompts=prompts, device="cpu")
    model.save_pretrained(str(directory / "model"), create_model_card=False)
    return directory / "model"


def static_model(directory: Path) -> Path:
    """A table of word vectors: a model that is no transformer."""
    torch.manual_seed(0)
    module = StaticEmbedding(tiny_tokenizer(), embedding_dim=DIMENSIONS)
    SentenceTransformer(modules=[module], device="cpu").save_pretrained(
        str(directory / "model"), create_model_card=False
    )
    return directory / "model"
