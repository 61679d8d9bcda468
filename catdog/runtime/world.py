"""The processes of one training: one, unless torchrun has started several (`catdog.runtime.distributed`)."""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from catdog.runtime.device import choose_device

Network = TypeVar("Network", bound=nn.Module)
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class World:
    """The `size` processes of a training (the world size), of which this one is number `rank`: here, one alone.

    `local_rank` and `local_size` count those on the same machine.
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes and prints."""
        return self.rank == 0

    def choose_device(self, name: str) -> tuple[torch.device, str]:
        """The device called `name`, and in words which it is and why. Raises CatdogError where it is not there."""
        return choose_device(name)

    def start(self, device: torch.device) -> None:
        """Let the processes compute together from here on, each on its `device`."""

    def same(self, text: str) -> str:
        """The text of the main process, whatever that of the others is."""
        return text

    @contextlib.contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """What is inside is done by one process of each machine, then, when that has finished, by the others of it."""
        yield

    def slice(self, count: int) -> slice:
        """Which of a batch's `count` photos are this process's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all processes."""
        return tensor

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of the numbers of all processes, which travel over `device`."""
        return number

    def from_main(self, value: Any) -> Any:
        """The value of the main process, tensors (on the CPU) and all."""
        return value

    def wait(self) -> None:
        """Wait until all processes are here."""

    def check_batches(self, smallest: int, parts: int) -> None:
        """Raise CatdogError if a batch of `smallest` photos is too small for each to have some in each of its parts."""

    def prepared(self, model: Network, device: torch.device) -> Network:
        """`model` on `device`, its batch normalisation over the whole batch and not this process's slice of it."""
        return model.to(device)

    def network(self, model: nn.Module, device: torch.device) -> nn.Module:
        """What computes as `model` does; after backward its weights have the mean of all processes' gradients."""
        return model


ALONE = World()
