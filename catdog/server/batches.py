"""Photos that wait for the same network at the same time are answered by one forward pass.

A dense layer reads its whole weight matrix for each pass, so eight photos together take hardly longer than one. Nobody
waits for others to come: a pass takes those that came while the one before it was computed.
"""

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from catdog.base.cpus import usable_cpus
from catdog.server.state import State

if TYPE_CHECKING:
    from catdog.predict import Classifier, Prediction

    Waiting = list[tuple[NDArray[np.uint8], asyncio.Future[Prediction]]]

_MOST = 16  # photos in a pass


class Batches:
    """Used by the event loop alone; passes are computed in threads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: dict[Classifier, Waiting] = {}
        self._workers: set[asyncio.Task[None]] = set()

    async def answer(self, network: "Classifier", pixels: NDArray[np.uint8]) -> "Prediction":
        """The answer for one photo. pixels: uint8, 3 x H x W."""
        answer: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(network, []).append((pixels, answer))
        if len(self._workers) < usable_cpus()[0]:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await answer

    async def _work(self) -> None:
        """Compute one pass after the other, network by network, while somebody waits."""
        while self._waiting:
            network = next(iter(self._waiting))
            waiting = self._waiting.pop(network)
            batch, rest = waiting[:_MOST], waiting[_MOST:]
            if rest:
                self._waiting[network] = rest
            try:
                answers = await self._state.compute(network.answers, np.stack([pixels for pixels, _ in batch]))
            except Exception as error:
                for _, answer in batch:
                    answer.set_exception(error)
                continue
            for (_, answer), found in zip(batch, answers, strict=True):
                if not answer.done():  # of a request that was broken off
                    answer.set_result(found)
