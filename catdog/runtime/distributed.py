"""One training by several processes, each with its slice of every batch: what they tell each other.

`torchrun --nproc-per-node 8 scripts/train.py` starts eight and says to each, in environment variables, which it is.
Each computes the gradient of its slice, and DistributedDataParallel (Li et al. 2020) adds these up, so all take
the same step. Everything else, such as evaluation and decisions, is made the same in each by the functions here.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from catdog.base.signals import Interrupted
from catdog.errors import CatdogError
from catdog.runtime.device import available_devices, choose_device

Network = TypeVar("Network", bound=nn.Module)
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_TIMEOUT = timedelta(days=1)  # that one waits for another in a step, which may be writing a large checkpoint
_FAILED = "failed"
_POLL = 0.05  # seconds between two looks at whether another is ready; between them a signal is heard


class World:
    """The `size` processes of one training (the world size), of which this one has number `rank`.

    `ALONE` is a world of one process, in which all of these functions do nothing.
    """

    def __init__(self, rank: int, size: int, local_rank: int, local_size: int, store: Any) -> None:
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = local_rank, local_size  # among those on the same machine
        self._store = store
        self._meetings = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes and prints."""
        return self.rank == 0

    def choose_device(self, name: str) -> tuple[torch.device, str]:
        """As `catdog.runtime.device.choose_device`, but each process of a machine takes a GPU of its own."""
        if self.size == 1:
            return choose_device(name)
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
        """From here on they compute together, each on its `device`: over NCCL on GPUs, else over Gloo."""
        if self.size == 1:
            return
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
        """The text of the main process, whatever that of the others is."""
        if self.size == 1:
            return text
        key = self._next_key()
        if self.is_main:
            self._store.set(key, text)
        self._wait_for(key)
        return self._store.get(key).decode()

    @contextlib.contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """What is inside is done by one process of each machine, then, when that has finished, by the others of it.

        They wait as long as it takes.
        """
        if self.size == 1:
            yield
            return
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
                raise SystemExit(2)  # which one it was has said why
            time.sleep(_POLL)

    def slice(self, count: int) -> slice:
        """Which of a batch's `count` photos are this process's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of the numbers of all, which travel over `device`."""
        if self.size == 1:
            return number
        largest = torch.tensor(number, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def from_main(self, value: Any) -> Any:
        """The value of the main process, tensors (on the CPU) and all."""
        if self.size == 1:
            return value
        values = [value if self.is_main else None]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def check_batches(self, smallest: int, parts: int) -> None:
        """Raise CatdogError if a batch of `smallest` photos is too small for each to have some in each of its parts."""
        if self.size > 1 and smallest // self.size < parts:
            raise CatdogError(
                f"a batch of {smallest} photos is too small for {self.size} processes"
                f"{f' in {parts} parts' if parts > 1 else ''}; give a larger --batch-size, or start fewer processes."
            )

    def prepared(self, model: Network, device: torch.device) -> Network:
        """`model` on `device`, its batch normalisation over the whole batch and not this process's slice of it."""
        if self.size > 1:
            for module in list(model.modules()):
                for name, child in module.named_children():
                    if isinstance(child, nn.BatchNorm1d):
                        setattr(module, name, WholeBatchNorm.like(child))
        return model.to(device)

    def network(self, model: nn.Module, device: torch.device) -> nn.Module:
        """What computes as `model` does, and after backward has the mean of all processes' gradients in its weights."""
        if self.size == 1:
            return model
        devices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, devices, gradient_as_bucket_view=True)

    def is_first_to_fail(self) -> bool:
        try:
            return self._store.add(_FAILED, 1) == 1
        except RuntimeError:  # the store has gone with its process
            return False


ALONE = World(rank=0, size=1, local_rank=0, local_size=1, store=None)


@contextlib.contextmanager
def join_world() -> Iterator[World]:
    """The world of processes that this one was started in, or `ALONE`.

    Where one fails, its error alone is raised; the others, which hear of it from their lost connections, exit.
    """
    if any(name not in os.environ for name in _VARIABLES) or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    rank, size, local_rank, local_size = (int(os.environ[name]) for name in _VARIABLES[:4])
    store, _, _ = next(distributed.rendezvous("env://", timeout=_TIMEOUT))
    world = World(rank, size, local_rank, local_size, distributed.PrefixStore("catdog", store))
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

    nn.SyncBatchNorm computes the same on NVIDIA GPUs alone; this one wherever torch.distributed works.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm1d) -> "WholeBatchNorm":
        same = cls(norm.num_features, norm.eps, norm.momentum, dtype=norm.weight.dtype, device=norm.weight.device)
        same.load_state_dict(norm.state_dict())
        return same

    def forward(self, x: Tensor) -> Tensor:
        """x: float, B x features, or B x (places x features), B of each process its own."""
        by_feature = x.view(-1, self.num_features)
        if not self.training:
            return super().forward(by_feature).view_as(x)
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
        return normed.to(x.dtype).view_as(x)
