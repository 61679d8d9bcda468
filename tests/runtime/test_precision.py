import csv
import functools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet
from test_device_step import take_steps, trainer_on
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from catdog.base.signals import Interrupted
from catdog.checkpoint.model_file import STATE_FILE
from catdog.checkpoint.saved_state import load_state
from catdog.checkpoint.training_state import save_state
from catdog.config.settings import Config
from catdog.data.batches import shuffled_batches
from catdog.data.prefetch import load_batches
from catdog.errors import CatdogError
from catdog.model.mlp import MLP
from catdog.predict import Classifier
from catdog.runtime.precision import choose_precision
from catdog.train import resume, train
from catdog.trainer import loop as trainer_module

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
PLAIN: dict[str, Any] = {"dropout": 0.0, "batch_norm": False, "mixup": 0.0, "accumulate": 1}


@pytest.fixture(autouse=True)
def _matrix_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def losses(run: Path) -> list[float]:
    with open(run / "metrics.csv", newline="") as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("device", "has_bfloat16", "asked", "chosen", "tf32"),
    [
        ("cuda", True, "auto", "bfloat16", "high"),
        ("cuda", False, "auto", "float16", "high"),
        ("cuda", True, "float16", "float16", "high"),
        ("cuda", True, "float32", "float32", "highest"),
        ("cpu", False, "auto", "float32", "highest"),
        ("cpu", False, "bfloat16", "bfloat16", "highest"),
        ("mps", False, "auto", "float32", "highest"),
    ],
)
def test_the_precision_is_what_the_device_is_good_at_or_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: str, has_bfloat16: bool, asked: str, chosen: str, tf32: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    precision = choose_precision(asked, torch.device(device))
    assert precision.name == chosen
    assert precision.in_words().startswith(chosen)
    assert ("TF32 on" in precision.in_words()) == (tf32 == "high")
    precision.set_matrix_products()
    assert torch.get_float32_matmul_precision() == tf32


def test_a_precision_that_the_device_has_not_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(CatdogError, match=r"this GPU has no bfloat16 .* give float16, or auto\.$"):
        choose_precision("bfloat16", torch.device("cuda"))
    with pytest.raises(CatdogError, match=r"float16 .* not tried on mps; give float32"):
        choose_precision("float16", torch.device("mps"))


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_matrices_are_multiplied_in_that_type_and_all_else_is_float32(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    seen: list[torch.dtype] = []
    trainer = trainer_on("cpu", tmp_path, precision=name, **PLAIN)
    for layer in trainer.state.model.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    answered: list[torch.dtype] = []
    trainer.loss.register_forward_pre_hook(lambda loss, inputs: answered.append(inputs[0].dtype))
    take_steps(trainer)
    assert set(seen) == {dtype}
    assert set(answered) == {torch.float32}
    for parameter in trainer.state.model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32
    seen.clear()
    trainer.evaluate(trainer.val)  # by the copy that holds the average of the weights
    assert seen == []


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_mixed_precision_learns_nearly_the_same(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    photos = make_photos({"cat": 30, "dog": 30})
    curves = {}
    for precision in ("float32", name):
        run = train(small_config(photos, out=str(tmp_path / precision), precision=precision, ema=0.0), log=quiet)
        curves[precision] = losses(run)
    assert curves[name] != curves["float32"]
    assert curves[name] == pytest.approx(curves["float32"], rel=0.05)


def test_an_overflow_of_float16_moves_no_weight_and_lowers_the_scale(tmp_path: Path) -> None:
    trainer = trainer_on("cpu", tmp_path, precision="float16", **PLAIN)
    take_steps(trainer)
    before = [parameter.detach().clone() for parameter in trainer.state.model.parameters()]
    scale = trainer.state.scaler.get_scale()
    assert isinstance(trainer.state.model, MLP)
    hook = trainer.state.model.classifier.bias.register_hook(lambda gradient: gradient * float("inf"))
    batch = next(load_batches(trainer.train, shuffled_batches(25, trainer.steps_per_epoch, seed=0, epoch=0)))
    trainer.step(batch.rows, batch.pixels, 0)
    assert all(torch.equal(p, b) for p, b in zip(trainer.state.model.parameters(), before, strict=True))
    assert trainer.state.scaler.get_scale() == scale / 2
    hook.remove()
    trainer.step(batch.rows, batch.pixels, 0)
    assert not any(torch.equal(p, b) for p, b in zip(trainer.state.model.parameters(), before, strict=True))


@pytest.mark.parametrize("changes", [{"precision": "float16"}, {"precision": "bfloat16"}, {"optimizer": "muon"}])
@pytest.mark.slow
def test_a_resumed_training_is_the_one_never_stopped(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:  # fmt: skip
    photos = make_photos({"cat": 20, "dog": 20})
    changes = {"hidden": (16, 12, 10), "dropout": 0.2, **changes}
    whole = train(small_config(photos, out=str(tmp_path / "whole"), **changes), log=quiet)
    update, steps = trainer_module.AveragedWeights.update, 0

    def update_then_stop(self: Any, model: Any, step: int) -> None:
        nonlocal steps
        update(self, model, step)
        steps += 1
        if steps == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer_module.AveragedWeights, "update", update_then_stop)
    with pytest.raises(Interrupted):
        train(small_config(photos, **changes), log=quiet)
    resume(tmp_path / "run", log=quiet)
    for name in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = (load_state(folder / STATE_FILE) for folder in (tmp_path / "run", whole))
    assert ours["scaler"] == theirs["scaler"]
    assert bool(ours["scaler"]) == (changes.get("precision") == "float16")


def test_a_checkpoint_of_a_device_that_scales_gradients_loads_on_one_that_does_not_and_back(tmp_path: Path) -> None:
    with_scaler = trainer_on("cpu", tmp_path, precision="float16", **PLAIN)
    without = trainer_on("cpu", tmp_path, precision="float32", **PLAIN)
    take_steps(with_scaler)
    with_scaler.state.totals.zero_()
    without.restore(with_scaler._plain_state())
    assert_equal(without.state.model, with_scaler.state.model)
    state = without._plain_state()
    with_scaler.restore(state)
    del state["scaler"]  # as checkpoints were before there was one
    without.restore(state)


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a.cpu(), b.cpu()), name


@pytest.mark.parametrize(
    "wrong", [{"scale": 1.0}, {"scale": float("nan")}, {"scale": -1.0}, {"growth_interval": 0}, 3, "added"]
)
def test_a_scaler_that_is_none_is_refused(tmp_path: Path, wrong: Any) -> None:
    trainer = trainer_on("cpu", tmp_path, precision="float16", **PLAIN)
    state = trainer._plain_state()
    if wrong == {"scale": 1.0}:
        del state["scaler"]["growth_factor"]
    elif wrong == "added":
        state["scaler"]["more"] = 1
    else:
        state["scaler"] = {**state["scaler"], **wrong} if isinstance(wrong, dict) else wrong
    with pytest.raises(ValueError, match="scaler"):
        trainer.restore(state)


@pytest.mark.slow
def test_compile_computes_the_same_and_compiles_for_one_size_then_for_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by a compiler that does nothing but count: batches are of 9 or 8 photos, and it is asked twice."""
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    trainers = []
    for compile in (False, True):
        torch.manual_seed(0)
        trainers.append(trainer_on("cpu", tmp_path, compile=compile, accumulate=1))
    for trainer in trainers:
        for _ in range(3):
            take_steps(trainer)
    assert counter.frame_count == 2
    assert_equal(trainers[0].state.model, trainers[1].state.model)


def test_where_there_is_no_compiler_compile_is_refused(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CatdogError, match=r"--compile needs a C\+\+ compiler, .* leave --compile out\.$"):
        train(small_config(make_photos({"cat": 9, "dog": 9}), compile=True), log=quiet)


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"precision": "float32"}, 1e-4),
        ({"precision": "bfloat16"}, 0.05),
        ({"precision": "float16"}, 0.05),
        ({"precision": "float32", "compile": True}, 1e-3),
        ({"precision": "float32", "optimizer": "muon"}, 0.05),
        ({"precision": "float32", "optimizer": "sgd", "batch_norm": True, "mixup": 0.4, "accumulate": 2}, 1e-3),
    ],
)
def test_a_gpu_learns_what_the_cpu_learns(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, changes: dict[str, Any], tolerance: float
) -> None:
    photos = make_photos({"cat": 30, "dog": 30})
    changes = {"hidden": (16, 12, 10), **changes}
    on_cpu = {**changes, "precision": "float32", "compile": False}
    cpu = train(small_config(photos, out=str(tmp_path / "cpu"), **on_cpu), log=quiet)
    gpu = train(small_config(photos, out=str(tmp_path / "gpu"), device="cuda", **changes), log=quiet)
    assert losses(gpu) == pytest.approx(losses(cpu), rel=tolerance)
    assert Classifier.load(gpu).classes == ("cat", "dog")


@pytest.mark.cuda
@pytest.mark.parametrize("there_and_back", [("cuda", "cpu"), ("cpu", "cuda")])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_a_checkpoint_of_one_kind_of_device_goes_on_on_another(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, there_and_back: tuple[str, str], optimizer: str
) -> None:
    config = small_config(
        make_photos({"cat": 20, "dog": 20}), hidden=(16, 12, 10), device=there_and_back[0], optimizer=optimizer
    )
    run = train(config, log=quiet)
    state: dict[str, Any] = load_state(run / STATE_FILE)
    assert all(tensor.device.type == "cpu" for tensor in state["model"].values() if isinstance(tensor, Tensor))
    for old, new in (("epochs = 3", "epochs = 5"), (there_and_back[0], there_and_back[1])):
        state["config"] = state["config"].replace(old, new)
    save_state(run / STATE_FILE, state)
    resume(run, log=quiet)
    assert len(losses(run)) == 5
