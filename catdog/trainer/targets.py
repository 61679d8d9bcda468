"""What a batch should be answered with."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from catdog.trainer.losses import weight_of


@dataclass
class Targets:
    """Labels of B photos, int64, and where photos were blended, the partner's label too."""

    labels: Tensor
    partners: Tensor
    share: float
    whole: "Targets | None" = None
    """Those of the whole batch, where these are a part of them."""

    @property
    def batch_size(self) -> int:
        """Photos in the whole batch."""
        return len((self.whole or self).labels)

    def part(self, rows: slice) -> "Targets":
        return Targets(self.labels[rows], self.partners[rows], self.share, self.whole or self)

    def loss(self, criterion: nn.Module, logits: Tensor) -> Tensor:
        """What these photos add to the mean loss of the whole batch: the losses of its parts add up to it."""
        whole = self.whole or self
        weight_share = weight_of(self.labels, criterion) / weight_of(whole.labels, criterion)
        loss = criterion(logits, self.labels) * weight_share
        if self.share == 1:
            return loss
        # Mixup (Zhang 2018, section 2): the loss blends as the photos did.
        partners_share = weight_of(self.partners, criterion) / weight_of(whole.partners, criterion)
        return self.share * loss + (1 - self.share) * criterion(logits, self.partners) * partners_share

    def count(self, loss_sum: Tensor, logits: Tensor) -> Tensor:
        """(loss, right answers, photos), to be added up."""
        likelier = self.labels if self.share >= 0.5 else self.partners
        right = (logits.detach().argmax(dim=1) == likelier).sum()
        return torch.stack([loss_sum, right.to(loss_sum), torch.full_like(loss_sum, len(logits))])


def in_parts(images: Tensor, targets: Targets, parts: int, least: int = 1) -> list[tuple[Tensor, Targets]]:
    """A batch as `parts` smaller ones; as fewer where one would hold less than `least` photos."""
    parts = min(parts, len(images) // least)
    if parts <= 1:
        return [(images, targets)]
    ends = itertools.accumulate((len(piece) for piece in images.tensor_split(parts)), initial=0)
    pieces = [slice(start, end) for start, end in itertools.pairwise(ends)]
    return [(images[rows], targets.part(rows)) for rows in pieces]
