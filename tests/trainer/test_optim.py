import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from catdog.checkpoint.saved_state import check_optimizer
from catdog.config.settings import Training
from catdog.model.mlp import MLP
from catdog.trainer.ema import AveragedWeights
from catdog.trainer.optim import make_optimizer
from catdog.trainer.schedule import learning_rate_at, set_learning_rate

PLAIN = Training(
    optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=0.1, schedule="constant", warmup_epochs=0
)


def one_step(training: Training) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Weights before, gradients, weights after one step of a small network."""
    torch.manual_seed(0)
    model = MLP((4, 4), 2, hidden=(9, 7))
    optimizer = make_optimizer(model, training)
    model(torch.randn(5, 3, 4, 4)).square().mean().backward()
    before = [p.detach().numpy().copy() for p in model.parameters()]
    gradients = [p.grad.numpy().copy() for p in model.parameters() if p.grad is not None]
    optimizer.step()
    return before, gradients, [p.detach().numpy().copy() for p in model.parameters()]


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.003])
def test_plain_gradient_descent_is_the_textbooks_to_the_last_bit(rate: float) -> None:
    """w' = w - lr * dE/dw, computed once in exact arithmetic and rounded once to float32."""
    before, gradients, after = one_step(replace(PLAIN, learning_rate=rate))
    for w, gradient, moved in zip(before, gradients, after, strict=True):
        expected = (w.astype(np.float64) - np.float64(np.float32(rate)) * gradient.astype(np.float64)).astype(
            np.float32
        )
        assert np.array_equal(moved, expected)
        assert not np.array_equal(moved, w)


def test_adamw_moves_as_its_paper_says() -> None:
    """The first step of Loshchilov and Hutter 2019, algorithm 2: decay, then a step of about the rate itself."""
    before, gradients, after = one_step(replace(PLAIN, optimizer="adamw", weight_decay=0.5))
    for w, gradient, moved in zip(before, gradients, after, strict=True):
        decay = 0.1 * 0.5 if w.ndim > 1 else 0.0  # biases are not pulled
        np.testing.assert_allclose(
            moved, w * (1 - decay) - 0.1 * gradient / (np.abs(gradient) + 1e-8), rtol=1e-5, atol=1e-6
        )


def test_schedules() -> None:
    def rates(training: Training) -> list[float]:
        return [learning_rate_at(step, 10, training) for step in range(10 * training.epochs)]

    assert set(rates(replace(PLAIN, epochs=5))) == {0.1}
    cosine = rates(replace(PLAIN, epochs=5, schedule="cosine", warmup_epochs=1))
    assert cosine[:10] == pytest.approx([0.1 * (i + 1) / 11 for i in range(10)])
    assert cosine[10] == 0.1
    assert cosine[30] == pytest.approx(0.05)
    assert cosine[-1] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 39 / 40)))
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    step = rates(replace(PLAIN, epochs=5, schedule="step", step_epochs=2, step_factor=0.5))
    assert [step[0], step[19], step[20], step[40]] == pytest.approx([0.1, 0.1, 0.05, 0.025])


def test_average_of_the_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = AveragedWeights(model, 0.9)
    averaged: Any = average.model
    expected = model.weight.item()
    for step in range(200):
        nn.init.constant_(model.weight, float(step))
        average.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert averaged.weight.item() == pytest.approx(expected, rel=1e-5)
    assert not averaged.weight.requires_grad
    off = AveragedWeights(model, 0)
    assert off.model is model


def test_muon_moves_hidden_matrices_by_an_orthogonal_matrix_and_the_rest_as_adamw_does() -> None:
    """Jordan et al. 2024: of the gradient U S V' it keeps U V', here by the singular value decomposition.

    Its five steps of Newton and Schulz leave singular values between about 0.7 and 1.2 instead of 1.
    """
    training = replace(PLAIN, optimizer="muon", weight_decay=0.5)
    torch.manual_seed(0)
    model = MLP((4, 4), 2, hidden=(40, 30, 20))
    optimizer = make_optimizer(model, training)
    model(torch.randn(64, 3, 4, 4)).square().mean().backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    for name, after in model.named_parameters():
        w, gradient = before[name], after.grad
        assert gradient is not None
        decayed = w * (1 - 0.1 * 0.5) if w.ndim > 1 else w
        step = ((decayed - after) / 0.1).detach()
        if name in ("hidden.1.linear.weight", "hidden.2.linear.weight"):
            u, s, v = torch.linalg.svd(gradient, full_matrices=False)
            wanted = u @ v * 0.2 * max(w.shape) ** 0.5  # Liu et al. 2025, equation 4
            in_those_directions = torch.diagonal(u.T @ step @ v.T) / (0.2 * max(w.shape) ** 0.5)
            large = in_those_directions[s > 1e-2 * s[0]]
            assert large.numel() >= 2
            assert ((large > 0.5) & (large < 1.5)).all()
            assert float((step * wanted).sum()) > 0
        else:
            torch.testing.assert_close(step, gradient / (gradient.abs() + 1e-8), rtol=1e-3, atol=1e-4)


def test_muon_is_one_optimizer_with_one_state() -> None:
    training = replace(PLAIN, optimizer="muon")
    models = [MLP((4, 4), 2, hidden=(9, 8, 7)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours, theirs = (make_optimizer(model, training) for model in models)
    images = torch.randn(5, 3, 4, 4)

    def step(model: MLP, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()

    step(models[0], ours)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    models[1].load_state_dict(models[0].state_dict())
    set_learning_rate(ours, 0.01)
    set_learning_rate(theirs, 0.01)
    for _ in range(3):
        step(models[0], ours)
        step(models[1], theirs)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)
    check_optimizer(ours.state_dict(), theirs)
    adamw = make_optimizer(models[0], replace(training, optimizer="adamw"))
    step(models[0], adamw)
    with pytest.raises(ValueError, match="optimizer"):
        check_optimizer(adamw.state_dict(), ours)
    broken = ours.state_dict()
    broken["state"][0] = {"exp_avg": torch.zeros(8, 9)}
    with pytest.raises(ValueError, match="optimizer"):
        check_optimizer(broken, ours)


def test_muon_without_hidden_matrices_is_adamw() -> None:
    assert isinstance(make_optimizer(MLP((4, 4), 2, hidden=(9,)), replace(PLAIN, optimizer="muon")), torch.optim.AdamW)
