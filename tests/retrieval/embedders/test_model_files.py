"""The files of the default model, found and hashed without torch."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.embedders.model_files import (
    DEFAULT_WEIGHTS_SHA256,
    ModelMissing,
    default_directory,
    default_tokenizer,
    tokenizer_hash,
    tokenizer_of,
    weights_sha256,
)


def test_the_default_weights_are_the_published_ones() -> None:
    assert weights_sha256(default_directory()) == DEFAULT_WEIGHTS_SHA256


def test_the_tokenizer_neither_truncates_nor_pads() -> None:
    lengths = [
        len(default_tokenizer().encode("word " * count, add_special_tokens=False)) for count in (3, 1000)
    ]
    assert lengths == [3, 1000]


def test_the_hash_is_of_the_tokens_not_of_the_limit(tmp_path: Path) -> None:
    tokenizer_of(default_directory()).save(str(tmp_path / "tokenizer.json"))
    assert tokenizer_hash(tmp_path) == tokenizer_hash()
    changed = tokenizer_of(tmp_path)
    changed.add_tokens(["footnote-token"])
    changed.save(str(tmp_path / "tokenizer.json"))
    assert tokenizer_hash(tmp_path) != tokenizer_hash()


def test_several_weights_have_one_hash(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"a")
    assert weights_sha256(tmp_path) == hashlib.sha256(b"a").hexdigest()
    (tmp_path / "b.safetensors").write_bytes(b"b")
    together = weights_sha256(tmp_path)
    (tmp_path / "b.safetensors").rename(tmp_path / "c.safetensors")
    assert together not in (hashlib.sha256(b"a").hexdigest(), weights_sha256(tmp_path))


def test_a_directory_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="safetensors"):
        weights_sha256(tmp_path)
    with pytest.raises(ModelMissing, match=r"tokenizer\.json"):
        tokenizer_of(tmp_path)


def test_torch_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys; from retrieval.embedders.local import LocalEmbedder, default_card, default_tokenizer;"
        "LocalEmbedder(); default_card(); default_tokenizer(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
