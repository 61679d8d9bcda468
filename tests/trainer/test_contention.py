"""More threads beside other programs: the same weights to the byte, and only where the user left the number open."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from catdog.config.toml import load_config
from catdog.data.photo_dataset import PhotoDataset
from catdog.model.build import build_model
from catdog.runtime.world import ALONE
from catdog.trainer import contention
from catdog.trainer.card import make_card
from catdog.trainer.contention import AdaptedThreads, adapted_threads, computes_the_same
from catdog.trainer.events import Event, Listener, StepDone
from catdog.trainer.loop import Trainer


@pytest.fixture(autouse=True)
def threads_as_before() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def open_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system on which the number of threads can be adapted, whatever this one is."""
    monkeypatch.setattr(contention, "usable_cpus", lambda: (2, ""))
    monkeypatch.setattr(contention, "_STAT", stat(tmp_path, 0))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def stat(folder: Path, seconds: float) -> Path:
    """A file as /proc/stat: the CPU time of this process, and `seconds` of other programs."""
    own = os.times()
    ticks = round((own.user + own.system + seconds) * os.sysconf("SC_CLK_TCK"))
    (folder / "stat").write_text(f"cpu  {ticks} 0 0 9999 9 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    return folder / "stat"


def trainer(folder: Path, listeners: list[Listener], network: nn.Module | None = None, **changes: Any) -> Trainer:
    """Of 150 photos of 32 x 32, which the products of the default network are cut up for."""
    config = load_config(None, {"epochs": 2, "batch_size": 32, "hidden": (256, 128), **changes})
    rng = torch.Generator().manual_seed(0)
    train, val = (
        PhotoDataset.from_tensors(
            torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=rng),
            torch.arange(count) % 2,
            ("cat", "dog"),
        )
        for count in (150, 90)
    )
    torch.manual_seed(0)
    model = network or build_model(config, 2)
    card, device = make_card(config, train), torch.device("cpu")
    return Trainer(config, model, train, val, card, folder, device, lambda line: None, listeners)


def weights(trained: Trainer) -> list[Tensor]:
    return [*trained.state.model.state_dict().values(), *trained.state.average.model.state_dict().values()]


def test_the_weights_are_the_same_when_other_programs_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come after the second step and go after the sixth."""
    torch.set_num_threads(2)
    (tmp_path / "plain").mkdir()
    plain = trainer(tmp_path / "plain", [])
    plain.fit()
    monkeypatch.setattr(contention, "_SECONDS", 0.0)
    others, seen = 0.0, []

    def come_and_go(event: Event) -> None:
        nonlocal others
        if isinstance(event, StepDone):
            others += 1000 * (2 <= event.step + event.steps * (event.epoch - 1) < 6)
            stat(tmp_path, others)

    adapted = AdaptedThreads(2, stat(tmp_path, 0))
    count = lambda event: seen.append(torch.get_num_threads())  # noqa: E731
    changed = trainer(tmp_path, [come_and_go, adapted, count])
    changed.fit()
    assert set(seen) == {2, 8} and seen[0] == seen[-1] == 2
    assert all(map(torch.equal, weights(changed), weights(plain)))


class _Different(nn.Module):
    """A network whose answers depend on the number of threads, as sums in another order do."""

    least_photos = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3072, 2)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.layer(images.flatten(1)) * (1 + 1e-6 * torch.get_num_threads())
        return found


def test_the_number_stays_where_it_would_change_what_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contention, "_SECONDS", 0.0)
    torch.set_num_threads(2)
    seen: list[int] = []

    def busy(event: Event) -> None:
        seen.append(torch.get_num_threads())
        stat(tmp_path, 1000.0 * len(seen))

    adapted = AdaptedThreads(2, stat(tmp_path, 0))
    trained = trainer(tmp_path, [busy, adapted], _Different(), hidden=())
    assert not computes_the_same(trained, 2, 8) and computes_the_same(trained, 2, 2)
    trained.fit()
    assert adapted.is_same is False and set(seen) == {2}


def test_comparing_changes_nothing_of_the_training(tmp_path: Path) -> None:
    trained = trainer(tmp_path, [], dropout=0.5, accumulate=3)
    before = [w.clone() for w in weights(trained)]
    trained.network.train()
    assert computes_the_same(trained, 2, 8)
    assert all(map(torch.equal, weights(trained), before)) and trained.network.training
    assert all(p.grad is None for p in trained.network.parameters())


CHOSEN: dict[str, dict[str, Any]] = {
    "its number": {"threads": 2}, "no cache": {"cache": "none"}, "batch normalisation": {"batch_norm": True},
    "muon": {"optimizer": "muon"}, "compile": {"compile": True}, "another network": {"model": "resnet18"},
}  # fmt: skip


@pytest.mark.parametrize("name", CHOSEN)
def test_not_where_the_configuration_speaks_against_it(name: str, open_number: None) -> None:
    cpu, plain = torch.device("cpu"), load_config(None, {})
    (adapted,) = adapted_threads(plain, cpu, ALONE, 2)
    assert (adapted.usual, adapted.many) == (2, 8)
    assert not adapted_threads(load_config(None, CHOSEN[name]), cpu, ALONE, 2)
    assert not adapted_threads(replace(plain), torch.device("cuda"), ALONE, 2)


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"])
def test_not_where_the_user_chose(name: str, open_number: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "2")
    assert not adapted_threads(load_config(None, {}), torch.device("cpu"), ALONE, 2)
