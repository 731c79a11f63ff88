"""A second real space, made of the default model: its vectors turned onto their principal components."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

from retrieval.embedders.model_files import default_directory


def principal(directory: Path, texts: Sequence[str], dimensions: int = 256) -> Path:
    """The default model with a layer that keeps `dimensions` principal components of what it makes of `texts`.

    The first components tell most, so that fewer of them stand alone, as in a Matryoshka model; they are
    scaled to the power of one half of their spread, halfway to whitening (Su et al. 2021).
    """
    model = SentenceTransformer(str(default_directory()), device="cpu", local_files_only=True)
    made = np.asarray(
        model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False), np.float64
    )
    mean = made.mean(axis=0)
    _, spread, axes = np.linalg.svd(made - mean, full_matrices=False)
    scaled = axes[:dimensions] / np.sqrt(np.maximum(spread[:dimensions], 1e-3))[:, None]
    dense = Dense(made.shape[1], dimensions, bias=True, activation_function=torch.nn.Identity())
    with torch.no_grad():
        dense.linear.weight.copy_(torch.from_numpy(scaled))
        dense.linear.bias.copy_(torch.from_numpy(-scaled @ mean))
    SentenceTransformer(modules=[*model, dense, Normalize()], device="cpu").save_pretrained(
        str(directory), create_model_card=False
    )
    return directory
