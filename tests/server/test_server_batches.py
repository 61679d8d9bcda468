"""Photos that wait at the same time are computed together, each gets its own answer, and networks are not mixed."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from catdog.server.batches import Batches
from catdog.server.networks import Networks
from catdog.server.state import State


class Slow:
    """A network whose answer for a photo is its first pixel; no pass ends before `go_on`. passes: photos of each."""

    def __init__(self) -> None:
        self.passes: list[int] = []
        self.go_on = threading.Event()

    def answers(self, pixels: np.ndarray) -> list[Any]:
        self.passes.append(len(pixels))
        assert self.go_on.wait(20)
        return pixels[:, 0, 0, 0].tolist()


def photo(value: int) -> np.ndarray:
    return np.full((3, 2, 2), value, np.uint8)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("batches", "state"):
        monkeypatch.setattr(f"catdog.server.{place}.usable_cpus", lambda: (2, ""))


def test_who_waits_is_answered_together() -> None:
    async def ask() -> list[Any]:
        batches, network = Batches(State(Networks())), Slow()
        first = [asyncio.ensure_future(batches.answer(network, photo(i))) for i in range(2)]  # type: ignore[arg-type]
        while sum(network.passes) < 2:
            await asyncio.sleep(0.001)
        rest = [asyncio.ensure_future(batches.answer(network, photo(i))) for i in range(2, 40)]  # type: ignore[arg-type]
        await asyncio.sleep(0)  # all wait
        rest[5].cancel()  # its request was broken off
        network.go_on.set()
        found = await asyncio.gather(*first, *rest, return_exceptions=True)
        assert sorted(network.passes[-3:]) == [6, 16, 16] and len(network.passes) <= 5
        return found

    found = asyncio.run(ask())
    assert isinstance(found.pop(7), asyncio.CancelledError)
    assert found == [*range(7), *range(8, 40)]


def test_networks_are_not_mixed_and_a_failure_reaches_its_own_alone() -> None:
    class Broken(Slow):
        def answers(self, pixels: np.ndarray) -> list[Any]:
            raise MemoryError

    async def ask() -> list[Any]:
        batches, network = Batches(State(Networks())), Slow()
        network.go_on.set()
        asked: list[Any] = [network, Broken()] * 10
        return await asyncio.gather(
            *(batches.answer(one, photo(i)) for i, one in enumerate(asked)), return_exceptions=True
        )

    found = asyncio.run(ask())
    assert found[::2] == list(range(0, 20, 2))
    assert all(isinstance(one, MemoryError) for one in found[1::2])
