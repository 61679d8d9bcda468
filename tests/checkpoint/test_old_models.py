"""A small model of each format version is kept in tests/models, with what it answers, for ever.

When FORMAT_VERSION is raised, make the new one's with

    PYTHONPATH=tests python tests/checkpoint/test_old_models.py
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import arrays_of, network

from catdog.architecture import Architecture
from catdog.checkpoint.model_card import FORMAT_VERSION, ModelCard
from catdog.checkpoint.model_file import save_model
from catdog.predict import Classifier

MODELS = Path(__file__).parents[1] / "models"


def pixels() -> np.ndarray:
    """uint8, 4 x 3 x 5 x 6: photos that each version is asked about."""
    i, c, y, x = np.ogrid[:4, :3, :5, :6]
    return ((97 * i + 71 * c + 13 * y * y + 31 * x + 7 * x * y * (i + 1)) % 256).astype(np.uint8)


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_a_model_of_every_format_version_answers_as_when_it_was_made(version: int) -> None:
    """The answers kept beside it were computed by torch."""
    kept = json.loads((MODELS / f"v{version}.json").read_text())
    classifier = Classifier.load(MODELS / f"v{version}.safetensors")
    assert classifier.classes == tuple(kept["classes"])
    np.testing.assert_allclose(classifier.probabilities(pixels()), kept["probabilities"], rtol=1e-5)
    assert len(np.unique(np.round(kept["probabilities"], 3))) > 8


def main() -> None:
    architecture = Architecture((5, 6), (7, 4), "gelu", batch_norm=True, dropout=0.25)
    card = ModelCard(
        architecture=architecture,
        classes=("cat", "dog", "Füchsin"),
        mean=(120.5, 110.25, 100.0),
        std=(60.0, 61.5, 62.25),
        resize_filter="bilinear",
        average_mirrored=True,
        loss="softmax",
        temperature=1.3,
        mean_colours=((130.0, 120.0, 110.0), (120.0, 110.0, 100.0), (110.0, 100.0, 90.0)),
        train_counts=(10, 12, 14),
        validation={"accuracy": 0.75, "loss": 0.5, "photos": 8, "epoch": 3},
    )
    model = network(architecture)
    with torch.no_grad():
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
        images = (torch.from_numpy(pixels()) - mean) / std
        logits = (model(images) + model(images.flip(3))) / 2
        probabilities = (logits.double() / card.temperature).softmax(dim=1)
    save_model(MODELS / f"v{FORMAT_VERSION}.safetensors", arrays_of(model), card)
    answers = {"classes": card.classes, "probabilities": probabilities.tolist()}
    (MODELS / f"v{FORMAT_VERSION}.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
