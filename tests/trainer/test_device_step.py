"""That a step leaves no tensor on the wrong device and never waits for the device: shown without a GPU.

PyTorch's `meta` device has no numbers, so whatever reads one raises there; copies to it are held to be such that a GPU
would not wait for them. FakeTensorMode knows each tensor's device, cuda too, and raises where two do not agree.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from catdog.architecture import Architecture
from catdog.checkpoint.model_card import ModelCard
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.batches import shuffled_batches
from catdog.data.listing import Listing
from catdog.data.photo_dataset import PhotoBatch, PhotoDataset
from catdog.model.build import build_model
from catdog.trainer import loop
from catdog.trainer.batch import prepare_batch
from catdog.trainer.card import make_card
from catdog.trainer.loop import Trainer
from catdog.trainer.targets import Targets

ALL_ON: dict[str, Any] = {
    "image_size": (6, 8), "hidden": (9, 7, 5), "batch_size": 10, "mixup": 0.4, "batch_norm": True, "dropout": 0.2,
    "accumulate": 2, "class_weights": "balanced", "threads": 1,
}  # fmt: skip


class NoWaiting(TorchDispatchMode):
    """Raises where a GPU would have to be waited for that `meta` lets pass: a copy to it that is not asynchronous."""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), settings: Any = None) -> Any:
        settings = settings or {}
        if function is torch.ops.aten._to_copy.default:
            to, source = settings.get("device"), arguments[0].device
            if to is not None and torch.device(to) != source and not settings.get("non_blocking"):
                raise AssertionError(f"a copy from {source} to {to} is waited for")
        if function is torch.ops.aten.copy_.default and arguments[0].device != arguments[1].device:
            raise AssertionError("a copy between devices is waited for")
        indices = {torch.ops.aten.index.Tensor: 1, torch.ops.aten.index_select.default: 2}.get(function)
        if indices and any(
            index is not None and index.device != arguments[0].device
            for index in (arguments[1] if indices == 1 else arguments[2:])
        ):
            raise AssertionError("the indices are on another device, and their copy is waited for")
        return function(*arguments, **settings)


def trainer_on(device: str, folder: Path, **changes: Any) -> Trainer:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (25, 3, 6, 8), dtype=np.uint8))
    photos = PhotoDataset.from_tensors(pixels, torch.arange(25) % 3 % 2, ("cat", "dog"))
    config: Config = load_config(None, {**ALL_ON, **changes})
    card = make_card(config, photos)
    model = build_model(config, 2)
    trainer = Trainer(config, model, photos, photos, card, folder, torch.device(device), quiet)
    trainer.state.model.train()
    return trainer


def take_steps(trainer: Trainer) -> None:
    """Steps as the training takes them between two looks."""
    rows = shuffled_batches(len(trainer.train), trainer.steps_per_epoch, seed=0, epoch=0)
    for step, batch in enumerate(trainer.train.__getitems__(some) for some in rows):
        assert isinstance(batch, PhotoBatch)
        trainer.step(batch.rows, batch.pixels, step)


VARIANTS = [
    {}, {"optimizer": "sgd", "loss": "svm", "squared_hinge": True}, {"hidden": (), "mixup": 0.0, "accumulate": 1},
    {"optimizer": "muon"},
    {"ema": 0.0, "clip_norm": 0.0, "class_weights": "none", "batch_norm": False, "label_smoothing": 0.0},
]  # fmt: skip


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: ",".join(changes))
def test_a_whole_step_leaves_nothing_on_the_cpu_and_waits_for_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    trainer = trainer_on("meta", tmp_path, **changes)
    with NoWaiting():
        take_steps(trainer)
    for tensor in (
        *trainer.state.model.state_dict().values(),
        trainer.state.totals,
        *trainer.state.average.model.state_dict().values(),
    ):
        assert tensor.device.type == "meta"


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: ",".join(changes))
def test_the_same_steps_on_the_cpu_move_the_weights(tmp_path: Path, changes: dict[str, Any]) -> None:
    """So that what runs on `meta` above is known to be the real thing."""
    trainer = trainer_on("cpu", tmp_path, **changes)
    before = [parameter.detach().clone() for parameter in trainer.state.model.parameters()]
    take_steps(trainer)
    assert all(not torch.equal(p, b) for p, b in zip(trainer.state.model.parameters(), before, strict=True))
    assert trainer.state.totals[2] == 25


def _labels_on_the_cpu(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    return images, replace(targets, labels=torch.zeros(len(images), dtype=torch.int64))


def _images_on_the_cpu(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    return torch.zeros(images.shape), targets


def _copied(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    return images + torch.zeros(images.shape).to(images.device), targets


def _item(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    return images * images.mean().item(), targets


def _cpu(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    images.sum().cpu()
    return images, targets


def _decided(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    return (images if images.sum() > 0 else -images), targets


def _chosen(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    return images, replace(targets, labels=targets.labels[targets.labels >= 0])


def _indexed(images: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    return images[torch.arange(len(images)).flip(0)], targets


FAULTS = [_labels_on_the_cpu, _images_on_the_cpu, _copied, _item, _cpu, _decided, _chosen, _indexed]
Fault = Callable[[Tensor, Targets], tuple[Tensor, Targets]]


def inject(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "prepare_batch", lambda *arguments: fault(*prepare_batch(*arguments)))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_misplaced_tensor_or_a_wait_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    inject(fault, monkeypatch)
    trainer = trainer_on("meta", tmp_path)
    with pytest.raises((RuntimeError, AssertionError, NotImplementedError)), NoWaiting():
        take_steps(trainer)


def test_a_wait_in_the_loss_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = Targets.loss
    monkeypatch.setattr(Targets, "loss", lambda *arguments: loss(*arguments) * loss(*arguments).item())
    trainer = trainer_on("meta", tmp_path)
    with pytest.raises(RuntimeError, match="meta tensors"), NoWaiting():
        take_steps(trainer)


def test_looking_at_the_loss_is_what_waits(tmp_path: Path) -> None:
    trainer = trainer_on("meta", tmp_path)
    batch = trainer.train.__getitems__(torch.arange(9))
    assert isinstance(batch, PhotoBatch)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        trainer.step(batch.rows, batch.pixels, 0, check=trainer._check_loss)


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors made inside have a device, cuda too, and a shape, but no numbers.

    Backward would ask for a real GPU, so there each gradient is a new tensor, on the device where its weight is.
    """

    def backward(loss: Tensor) -> None:
        assert loss.device.type == "cuda"
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)

    parameters: list[Tensor] = []
    make = Trainer.__init__

    def make_and_note(self: Trainer, *arguments: Any) -> None:
        make(self, *arguments)
        parameters.extend(self.state.model.parameters())

    monkeypatch.setattr(Trainer, "__init__", make_and_note)
    monkeypatch.setattr(Tensor, "backward", backward)
    monkeypatch.setattr(nn.Module, "to", lambda self, device: self)  # fake weights do not move; they are made there
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def trainer_on_cuda(folder: Path, **changes: Any) -> Trainer:
    """Like `trainer_on`, of nothing but fake tensors."""
    # Without what is made from numbers, which these tensors have not: class weights, a copy of the network. And not
    # with sgd, of which torch has a fused kernel for cuda, but does not say what shapes it makes.
    config = load_config(None, {**ALL_ON, **changes, "class_weights": "none", "ema": 0.0, "optimizer": "adamw"})
    photos = PhotoDataset(Listing(folder, ("cat", "dog"), ["photo"] * 25, [0] * 25), (6, 8))
    photos.pixels, photos.is_decoded = torch.empty(25, 3, 6, 8, dtype=torch.uint8), True
    photos.labels = torch.empty(25, dtype=torch.int64)
    m = config.model
    card = ModelCard(
        Architecture((6, 8), m.hidden, m.activation, m.batch_norm, m.dropout), tuple(photos.classes),
        mean=(9.0, 9.0, 9.0), std=(9.0, 9.0, 9.0), resize_filter="", average_mirrored=True, loss="softmax",
        temperature=1.0, mean_colours=(), train_counts=(9, 9),
    )  # fmt: skip
    with torch.device("cuda"):
        model, averaged = build_model(config, 2), build_model(config, 2)
    trainer = Trainer(config, model, photos, photos, card, folder, torch.device("cuda"), quiet)
    trainer.state.average.model, trainer.state.average.decay = averaged.requires_grad_(False), 0.99
    trainer.state.model.train()
    return trainer


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: ",".join(changes))
def test_forward_and_optimizer_step_on_a_gpu_that_is_not_there(
    tmp_path: Path, fake_cuda: None, changes: dict[str, Any]
) -> None:
    trainer = trainer_on_cuda(tmp_path, **changes)
    take_steps(trainer)
    for tensor in (*trainer.state.model.parameters(), *trainer.state.average.model.parameters()):
        assert tensor.device.type == "cuda"
    for entry in trainer.state.optimizer.state.values():
        assert {tensor.device.type for tensor in entry.values()} == {"cuda"}


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize("fault", [_labels_on_the_cpu, _images_on_the_cpu, _item])
def test_it_would_notice_a_misplaced_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_cuda: None, fault: Fault
) -> None:
    inject(fault, monkeypatch)
    with pytest.raises(RuntimeError, match=r"cpu|_local_scalar_dense"):
        take_steps(trainer_on_cuda(tmp_path))


@pytest.mark.cuda
@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: ",".join(changes))
def test_a_real_gpu_is_not_waited_for_either(tmp_path: Path, changes: dict[str, Any]) -> None:
    trainer = trainer_on("cuda", tmp_path, **changes)
    take_steps(trainer)  # the first steps may set things up
    torch.cuda.set_sync_debug_mode("error")
    try:
        take_steps(trainer)
    finally:
        torch.cuda.set_sync_debug_mode("default")
