"""What the handlers of all requests share: the networks, the photos, where trainings lie, and threads to compute in."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from catdog.base.cpus import usable_cpus
from catdog.server.networks import Networks
from catdog.server.photos import Photos

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class State:
    """One for each server. `at_exit`: functions that are called once when it ends, each within a second or two."""

    networks: Networks
    photos: Photos = field(default_factory=Photos)
    data: Path | None = None
    """The folder below which folders of photos may be chosen for a training; None: drawn ones alone."""
    unfamiliar_below: float = 0.05
    at_exit: list[Callable[[], Any]] = field(default_factory=list)
    _quick: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(usable_cpus()[0]))
    _long: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))

    async def compute(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread, a few at a time, so that the server goes on answering meanwhile."""
        return await self._in_thread(self._quick, functools.partial(function, *args, **kwargs))

    async def compute_long(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what may take a second or more: one at a time, and no prediction waits for it."""
        return await self._in_thread(self._long, functools.partial(function, *args, **kwargs))

    async def _in_thread(self, limiter: CapacityLimiter, function: Callable[[], T]) -> T:
        return await to_thread.run_sync(function, limiter=limiter, abandon_on_cancel=True)

    def close(self) -> None:
        """Call what is in `at_exit`, the last first, and forget it."""
        while self.at_exit:
            self.at_exit.pop()()
