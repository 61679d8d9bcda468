from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from catdog.errors import CatdogError
from catdog.runtime import device
from catdog.runtime.device import available_devices, choose_device

Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """pretend(gpus=2, mps=True): torch says that those are there."""

    def prepare(gpus: int = 0, mps: bool = False, built_for: str | None = "13.0") -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        found = SimpleNamespace(name="NVIDIA H100", total_memory=80 * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda which: found)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.backends.mps, "is_built", lambda: False)
        monkeypatch.setattr(torch.version, "cuda", built_for)
        monkeypatch.setattr(torch.version, "hip", None)

    return prepare


@pytest.mark.parametrize(
    ("there", "name", "chosen", "said"),
    [
        ({"gpus": 2, "mps": True}, "auto", "cuda:0", "cuda:0, NVIDIA H100 with 80 GiB (the first of 3 GPUs)"),
        ({"gpus": 1}, "auto", "cuda:0", "(the GPU that is there)"),
        ({"mps": True}, "auto", "mps", "mps (the GPU that is there)"),
        ({}, "auto", "cpu", "cpu (there is no GPU that torch can use)"),
        ({"built_for": None}, "auto", "cpu", "this PyTorch was built for the CPU alone"),
        ({"gpus": 2}, "cuda", "cuda:0", "(as asked)"),
        ({"gpus": 2}, "cuda:1", "cuda:1", "(as asked)"),
        ({"gpus": 2}, "cpu", "cpu", "cpu (as asked)"),
    ],
)
def test_cuda_goes_before_mps_before_cpu_and_it_is_said_why(
    pretend: Pretend, there: dict[str, object], name: str, chosen: str, said: str
) -> None:
    pretend(**there)
    found, words = choose_device(name)
    assert found == torch.device(chosen)
    assert said in words


@pytest.mark.parametrize("name", ["cuda:2", "cuda:x", "cuda:-1", "mps", "gpu", "", "meta"])
def test_a_device_that_is_not_there_is_a_sentence_that_names_those_that_are(pretend: Pretend, name: str) -> None:
    pretend(gpus=2)
    with pytest.raises(CatdogError) as refused:
        choose_device(name)
    expected = f"there is no device {name} (--device); those that are there: cpu, cuda:1, cuda:0."
    assert str(refused.value) == expected


def test_a_build_without_cuda_is_named_where_a_gpu_was_asked_for(pretend: Pretend) -> None:
    pretend(built_for=None)
    with pytest.raises(CatdogError, match=r"those that are there: cpu; this PyTorch was built for the CPU alone\.$"):
        choose_device("cuda")


def test_the_cpu_is_always_there() -> None:
    assert available_devices()[-1] == "cpu"


@pytest.mark.cuda
def test_a_real_gpu_is_found_and_named() -> None:
    found, words = choose_device("auto")
    assert found == torch.device("cuda:0")
    assert torch.cuda.get_device_name(0) in words
    assert "cpu" in device.available_devices()
