"""Writes model.safetensors after each epoch that is the best so far."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import MODEL_FILE, save_model


def save_best(
    run: Path,
    card: ModelCard,
    weights: Mapping[str, Tensor],
    labels: np.ndarray,
    logits: np.ndarray,
    row: dict[str, float],
) -> None:
    """Write model.safetensors: the `weights` (a state_dict), the temperature and validation figures.

    labels (int64, N), logits (float32, N x C): of the validation photos. row: of metrics.csv.
    """
    from catdog.metrics import fit_temperature  # the only one of them that training needs

    figures = {"accuracy": row["val_accuracy"], "loss": row["val_loss"], "photos": len(labels), "epoch": row["epoch"]}
    validation = {**card.validation, **figures}
    card = replace(card, temperature=fit_temperature(labels, logits), validation=validation)
    tensors = {
        name: tensor.float().cpu().numpy()
        for name, tensor in weights.items()
        if not name.endswith("num_batches_tracked")
    }
    save_model(run / MODEL_FILE, tensors, card)
