import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from catdog.config import Training
from catdog.model import MLP
from catdog.optim import AveragedWeights, learning_rate_at, make_optimizer

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
