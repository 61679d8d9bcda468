"""The two worked examples, to the digits that textbooks print, and by torch's autograd."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catdog.cli.main import main
from catdog.errors import CatdogError
from catdog.tools.explain import textbook

LISTED = {
    "out_o1": 0.751365070,
    "out_o2": 0.772928465,
    "E": 0.298371109,
}
GRADIENTS = {"w5": 0.082167041, "w1": 0.000438568}
MOVED = {
    "w1": 0.149780716,
    "w2": 0.199561432,
    "w3": 0.249751144,
    "w4": 0.299502287,
    "w5": 0.358916480,
    "w6": 0.408666186,
    "w7": 0.511301270,
    "w8": 0.561370121,
}
HALF_A_DIGIT = 5e-10


def test_the_network_is_the_textbooks_to_nine_digits() -> None:
    n = textbook.network()
    for name, value in LISTED.items():
        assert n[name] == pytest.approx(value, abs=HALF_A_DIGIT), name
    for name, value in GRADIENTS.items():
        assert n.gradient(name) == pytest.approx(value, abs=HALF_A_DIGIT), name
    assert textbook.step(n) == pytest.approx(list(MOVED.values()), abs=HALF_A_DIGIT)
    assert textbook.error_after(1) == pytest.approx(0.291027774, abs=HALF_A_DIGIT)


@pytest.mark.slow
def test_after_ten_thousand_steps_nearly_no_error_is_left() -> None:
    assert f"{textbook.error_after(10_000):.4e}" == "3.5102e-05"


def test_the_circuit_is_the_textbooks_to_four_digits() -> None:
    n = textbook.circuit()
    assert round(n["f"], 4) == 0.7311
    found = {name: round(n.gradient(name), 4) for name in ("w0", "w1", "w2", "x0", "x1")}
    assert found == {"w0": -0.1966, "w1": -0.3932, "w2": 0.1966, "x0": 0.3932, "x1": -0.5898}


def test_both_examples_by_autograd() -> None:
    w = torch.tensor(textbook.WEIGHTS, dtype=torch.float64, requires_grad=True)
    x = torch.tensor(textbook.INPUTS, dtype=torch.float64)
    hidden = torch.sigmoid(w[:4].view(2, 2) @ x + textbook.BIASES[0])
    out = torch.sigmoid(w[4:].view(2, 2) @ hidden + textbook.BIASES[1])
    error = ((torch.tensor(textbook.TARGETS, dtype=torch.float64) - out) ** 2 / 2).sum()
    error.backward()
    n = textbook.network()
    assert n["E"] == pytest.approx(error.item(), rel=1e-14)
    assert w.grad is not None
    np.testing.assert_allclose([n.gradient(f"w{i}") for i in range(1, 9)], w.grad.numpy(), rtol=1e-13)

    v = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in textbook.CIRCUIT.items()}
    f = torch.sigmoid(v["w0"] * v["x0"] + v["w1"] * v["x1"] + v["w2"])
    f.backward()
    c = textbook.circuit()
    for name, value in v.items():
        assert value.grad is not None
        assert c.gradient(name) == pytest.approx(value.grad.item(), rel=1e-13)


def test_a_wrong_gradient_is_an_error() -> None:
    n = textbook.network()
    n.numbers["w5"].gradient *= 1 + 1e-5
    with pytest.raises(CatdogError, match=r"w5.*report"):
        textbook.check_gradient(
            n, "w5", lambda w: textbook.network([*textbook.WEIGHTS[:4], w, *textbook.WEIGHTS[5:]])["E"]
        )


@pytest.mark.slow
def test_the_command_prints_every_value_and_draws_both_graphs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--textbook", "--out", str(tmp_path / "made" / "here")]) == 0
    printed = capsys.readouterr().out
    for value in [*LISTED.values(), *GRADIENTS.values(), *MOVED.values(), 0.291027774]:
        assert f"{value:.9f}" in printed
    for words in ("3.5102e-05", "0.7311", "-0.1966", "-0.3932", "0.3932", "-0.5898"):
        assert words in printed
    for name in ("textbook-network", "textbook-circuit"):
        with Image.open(tmp_path / "made" / "here" / f"{name}.png") as picture:
            assert min(picture.size) > 500
        assert b"</svg>" in (tmp_path / "made" / "here" / f"{name}.svg").read_bytes()
    assert main(["explain", "--textbook", "--lr", "0.1"]) == 2
    assert "leave --lr out" in capsys.readouterr().err


def test_the_path_of_w1_has_two_branches() -> None:
    """The chain rule sums over both outputs; either alone is not the derivative."""
    from catdog.tools.explain import scalar

    n = textbook.network()
    shares = [math.prod(slope for _, _, slope in path) for path in scalar.paths(n.result, n.numbers["w1"])]
    assert len(shares) == 2
    assert math.fsum(shares) == pytest.approx(GRADIENTS["w1"], abs=HALF_A_DIGIT)
