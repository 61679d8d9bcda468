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
    from catdog.metrics import expected_calibration_error, fit_temperature  # all that training needs of them
    from catdog.numpy_net import softmax

    temperature = fit_temperature(labels, logits)
    ece = expected_calibration_error(labels, softmax(logits / temperature))
    figures = {"accuracy": row["val_accuracy"], "loss": row["val_loss"], "photos": len(labels), "epoch": row["epoch"]}
    validation = {**card.validation, **figures, "ece": ece}
    right = labels[logits.argmax(axis=1) == labels]
    counts = (np.bincount(some, minlength=len(card.classes)).tolist() for some in (labels, right))
    by_class = tuple(zip(*counts, strict=True))
    card = replace(card, temperature=temperature, validation=validation, by_class=by_class)
    tensors = {
        name: tensor.float().cpu().numpy()
        for name, tensor in weights.items()
        if not name.endswith("num_batches_tracked")
    }
    save_model(run / MODEL_FILE, tensors, card)
