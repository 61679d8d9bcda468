"""What a batch should be answered with."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Targets:
    """Labels of B photos, int64, and where photos were blended, the partner's label too."""

    labels: Tensor
    partners: Tensor
    share: float

    def loss(self, criterion: nn.Module, logits: Tensor) -> Tensor:
        if self.share == 1:
            return criterion(logits, self.labels)
        # Mixup (Zhang 2018, section 2): the loss blends as the photos did.
        return self.share * criterion(logits, self.labels) + (1 - self.share) * criterion(logits, self.partners)

    def count(self, loss_sum: Tensor, logits: Tensor) -> Tensor:
        """(loss, right answers, photos), to be added up."""
        likelier = self.labels if self.share >= 0.5 else self.partners
        right = (logits.detach().argmax(dim=1) == likelier).sum()
        return torch.stack([loss_sum, right.to(loss_sum), torch.full_like(loss_sum, len(logits))])


def in_parts(images: Tensor, targets: Targets, parts: int) -> list[tuple[Tensor, Targets]]:
    """A batch as `parts` smaller ones (fewer where it holds fewer photos)."""
    if parts == 1:
        return [(images, targets)]
    pieces = zip(
        images.tensor_split(parts),
        targets.labels.tensor_split(parts),
        targets.partners.tensor_split(parts),
        strict=True,
    )
    return [(image, Targets(labels, partners, targets.share)) for image, labels, partners in pieces if len(image)]
