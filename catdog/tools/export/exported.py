"""What is exported, and what the file says of itself."""

from dataclasses import asdict, dataclass
from typing import Any

import catdog
from catdog.checkpoint.model_card import ModelCard
from catdog.numpy_net import Floats


@dataclass(frozen=True)
class Exported:
    """What is exported: the arrays and the card of a model file, and below what an answer is called in doubt."""

    tensors: dict[str, Floats]
    card: ModelCard
    unsure_below: float
    unfamiliar_below: float

    def about(self) -> dict[str, Any]:
        """What the file says of itself: input, classes in order, where the network comes from."""
        card = self.card
        return {
            "classes": card.classes,
            "image_size": card.architecture.image_size,
            "input": "photos: uint8, N x H x W x 3, RGB, upright; all H and W from 1 on, alike for the N photos",
            "outputs": ["probabilities: N x classes"]
            + ["familiarity: N, share of familiar photos that are less so"] * bool(card.familiarity),
            "unsure_below": self.unsure_below,
            "unfamiliar_below": self.unfamiliar_below if card.familiarity else 0.0,
            "trained_on": card.trained_on,
            "recipe": card.recipe,
            "validation": card.validation,
            "made_by": f"catdog {catdog.__version__}",
            "card": asdict(card),
        }
