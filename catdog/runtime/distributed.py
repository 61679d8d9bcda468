"""One training by several processes, each with its slice of every batch: how they communicate.

`torchrun --nproc-per-node 8 scripts/train.py` starts eight and sets in environment variables which is which.
Each computes the gradient of its slice, and DistributedDataParallel (Li et al. 2020) adds these up, so all take
the same step. Everything else, such as validation and decisions, is made the same in each by the functions here.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from catdog.base.signals import Interrupted
from catdog.errors import CatdogError
from catdog.runtime.device import available_devices, choose_device
from catdog.runtime.world import VARIABLES, World

Network = TypeVar("Network", bound=nn.Module)
_TIMEOUT = timedelta(days=1)  # that one waits for another in a step, which may be writing a large checkpoint
_FAILED = "failed"
_POLL = 0.05  # seconds between two looks at whether another is ready; between them a signal is heard


class DistributedWorld(World):
    """A world of several processes, which communicate over torch.distributed and, before it is up, over its store."""

    def __init__(self, rank: int, size: int, local_rank: int, local_size: int, store: Any) -> None:
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = local_rank, local_size
        self._store = store
        self._meetings = 0

    def choose_device(self, name: str) -> tuple[torch.device, str]:
        """As `catdog.runtime.device.choose_device`, but each process of a machine takes a GPU of its own."""
        gpus = sum(device.startswith("cuda") for device in available_devices())
        if name not in ("auto", "cpu", "cuda"):
            raise CatdogError(
                f"{self.size} processes cannot share the device {name} (--device); give cuda, of which each takes one, "
                "or cpu."
            )
        if name == "cpu" or (name == "auto" and not gpus):
            device, words = choose_device("cpu" if name == "cpu" else name)
        elif self.local_rank < gpus or not gpus:
            device, words = choose_device(f"cuda:{self.local_rank}")
        else:
            raise CatdogError(
                f"there are {self.local_size} processes on this machine and {gpus} GPUs; start as many processes as "
                f"GPUs: torchrun --nproc-per-node {gpus}."
            )
        return device, f"{self.size} processes; this one on {words}"

    def start(self, device: torch.device) -> None:
        """Compute together from here on: over NCCL on GPUs, else over Gloo."""
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=distributed.PrefixStore("group", self._store),
            rank=self.rank,
            world_size=self.size,
            timeout=_TIMEOUT,
        )

    def same(self, text: str) -> str:
        key = self._next_key()
        if self.is_main:
            self._store.set(key, text)
        self._wait_for(key)
        return self._store.get(key).decode()

    @contextlib.contextmanager
    def first_on_machine(self) -> Iterator[None]:
        key = f"{self._next_key()}-{(self.rank - self.local_rank)}"  # the machine's, by its first process
        if self.local_rank:
            self._wait_for(key)
        yield
        if not self.local_rank:
            self._store.set(key, "done")

    def _next_key(self) -> str:
        self._meetings += 1
        return f"meeting {self._meetings}"

    def _wait_for(self, key: str) -> None:
        while not self._store.check([key]):
            if self._store.check([_FAILED]):
                raise SystemExit(2)  # which one it was has printed why
            time.sleep(_POLL)

    def sum(self, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def largest(self, number: int, device: torch.device) -> int:
        largest = torch.tensor(number, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def from_main(self, value: Any) -> Any:
        values = [value if self.is_main else None]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def wait(self) -> None:
        if distributed.is_initialized():
            distributed.barrier()
            return
        key = self._next_key()  # before `start` the main process, which has the store, waits for the others
        if not self.is_main:
            self._store.set(f"{key}-{self.rank}", "here")
        else:
            for rank in range(1, self.size):
                self._wait_for(f"{key}-{rank}")

    def check_batches(self, smallest: int, parts: int) -> None:
        if smallest // self.size < parts:
            raise CatdogError(
                f"a batch of {smallest} photos is too small for {self.size} processes"
                f"{f' in {parts} parts' if parts > 1 else ''}; give a larger --batch-size, or start fewer processes."
            )

    def prepared(self, model: Network, device: torch.device) -> Network:
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                    setattr(module, name, WholeBatchNorm.like(child))
        return model.to(device)

    def network(self, model: nn.Module, device: torch.device) -> nn.Module:
        devices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, devices, gradient_as_bucket_view=True)

    def is_first_to_fail(self) -> bool:
        try:
            return self._store.add(_FAILED, 1) == 1
        except RuntimeError:  # the store has gone with its process
            return False


@contextlib.contextmanager
def join_processes() -> Iterator[World]:
    """The world of processes that the environment variables describe.

    Where one fails, its error alone is raised; the others, which hear of it from their lost connections, exit.
    """
    rank, size, local_rank, local_size = (int(os.environ[name]) for name in VARIABLES[:4])
    store, _, _ = next(distributed.rendezvous("env://", timeout=_TIMEOUT))
    own = distributed.PrefixStore(_name_of_start(store, rank, size), store)
    world = DistributedWorld(rank, size, local_rank, local_size, own)
    try:
        yield world
    except Interrupted as stop:
        if stop.saved:  # by all, at the same step
            distributed.destroy_process_group()
        raise
    except Exception as error:
        if not world.is_first_to_fail():
            raise SystemExit(2) from None
        if _is_connection_lost(error):
            raise CatdogError(
                f"process {rank} of {size} has lost its connection to another, which has ended without a word; what "
                "was saved before is whole: go on with --resume."
            ) from None
        raise
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _name_of_start(store: Any, rank: int, size: int) -> str:
    """A name that the processes which start together have in common, with none that started before.

    Where torchrun starts processes anew, its store still holds what the former ones have said.
    """

    def said(key: str) -> str:
        return store.get(key).decode() if store.check([key]) else ""

    own, name = uuid.uuid4().hex, ""
    store.set(f"here {rank}", own)
    while not name or said("all agree on") != name:
        if rank == 0:
            name = " ".join(said(f"here {other}") for other in range(size))
            store.set("name", name)
        elif own in said("name"):
            name = said("name")
        store.set(f"name of {rank}", name)
        if rank == 0 and all(said(f"name of {other}") == name for other in range(size)):
            store.set("all agree on", name)  # and so all of these processes are there
            break
        time.sleep(_POLL)
    return name


def _is_connection_lost(error: Exception) -> bool:
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in ("gloo", "nccl", "connection"))
    )


class _SumOverAll(torch.autograd.Function):
    """The sum of the tensors of all processes. The losses of all depend on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class WholeBatchNorm(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy 2015, algorithm 1) over the slices of a batch of all processes.

    nn.SyncBatchNorm computes the same on NVIDIA GPUs alone; this one wherever torch.distributed works, and as well for
    the maps of torchvision's networks.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> "WholeBatchNorm":
        same = cls(norm.num_features, norm.eps, norm.momentum, dtype=norm.weight.dtype, device=norm.weight.device)
        same.load_state_dict(norm.state_dict())
        return same

    def forward(self, x: Tensor) -> Tensor:
        """x: float, B x features, B x (places x features) or B x features x H x W, B of each process its own."""
        features_last = x.movedim(1, -1)
        by_feature = features_last.reshape(-1, self.num_features)
        if not self.training:
            return super().forward(by_feature).view_as(features_last).movedim(-1, 1)
        exact = by_feature.to(self.weight.dtype)
        sums = _SumOverAll.apply(torch.cat([exact.sum(0), exact.new_full((1,), len(exact))]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        variance = _SumOverAll.apply((exact - mean).square().sum(0)) / count
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.momentum is not None and self.num_batches_tracked is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        normed = (exact - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normed.to(x.dtype).view_as(features_last).movedim(-1, 1)
