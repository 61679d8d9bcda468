"""Muon, for the matrices between hidden layers, with AdamW for all other parameters."""

from typing import Any

import torch
from torch import nn

from catdog.config.settings import Training

Params = list[nn.Parameter]


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) over the matrices `hidden`; AdamW over the `other` matrices and the `vectors`.

    Muon's steps are made as long as AdamW's usually are (Liu et al. 2025, "Muon is Scalable for LLM Training", section
    2.2), so that one learning rate serves both. To the outside it is one optimizer with one state.
    """

    def __init__(self, hidden: Params, other: Params, vectors: Params, training: Training, fused: bool) -> None:
        rate, decay = training.learning_rate, training.weight_decay
        self.muon = torch.optim.Muon(hidden, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        groups = [{"params": other, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(groups, lr=rate, fused=fused)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """The two work on this one's settings and state."""
        self.muon.param_groups, self.adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self.muon.state = self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.muon.step()
        self.adamw.step()
