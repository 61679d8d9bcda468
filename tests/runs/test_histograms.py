from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quiet

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.errors import CatdogError
from catdog.model.mlp import MLP
from catdog.runs import histograms
from catdog.tools.explain import weights_history
from catdog.train import train

MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


def test_the_shares_are_numpys_histogram_and_survive_the_file(tmp_path: Path) -> None:
    model = MLP((4, 5), 3, (7, 6), batch_norm=True)
    model(torch.randn(8, 3, 4, 5)).square().sum().backward()
    rows = histograms.weight_histograms(model, 2)
    (tmp_path / "weights.csv").write_text(histograms.histograms_as_csv(rows))
    found = weights_history.read(tmp_path / "weights.csv")
    assert [(h.layer, h.what) for h in found] == [
        (layer, what) for layer in ("hidden 1", "hidden 2", "classifier") for what in ("weight", "gradient")
    ]
    first = model.hidden[0].get_submodule("linear").get_parameter("weight")
    assert first.grad is not None
    for h, values in zip(found, (first.detach().numpy(), first.grad.numpy()), strict=False):
        size = np.sqrt((values**2).mean())
        assert h.size == pytest.approx([size], rel=1e-5)
        expected, _ = np.histogram(np.clip(values / size, -4, 4), bins=histograms.BINS, range=(-4, 4))
        assert np.abs(h.shares[0] * values.size - expected).sum() <= 2  # a number on an edge may fall on either side
        assert h.shares.sum() == pytest.approx(1)
        assert h.epochs.tolist() == [2]


@pytest.mark.slow
def test_a_training_leaves_them_and_explain_draws_them(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    run = train(small_config(make_photos({"cat": 12, "dog": 12}), epochs=4), log=quiet)
    for h in weights_history.read(run / histograms.WEIGHTS_FILE):
        assert h.epochs.tolist() == [1, 2, 3, 4]
        assert (h.size > 0).all()
    assert main(["explain", "--run", str(run)]) == 0
    assert (run / "explain" / "histories.png").stat().st_size > 10_000
    assert 'id="histories"' in (run / "explain" / "network.html").read_text()


def test_another_file_of_that_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "weights.csv").write_text("epoch,layer\n1,2\n")
    with pytest.raises(CatdogError, match=r"weights\.csv"):
        weights_history.read(tmp_path / "weights.csv")
