"""The command line in a process of its own, that a test can signal, kill or take the room on the disk from.

Processes are forked from one that has imported everything, so that a start takes a moment and not seconds.
"""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "catdog.train",
        "catdog.cli.main",
        "torch._dynamo",
        "torch.utils.tensorboard",
        "matplotlib.backends.backend_agg",
        "torch.nn.parallel",
        "optuna.samplers",
        "optuna.storages._rdb.storage",
        "sqlalchemy.dialects.sqlite",
        "alembic.command",
    ]
)
LIMIT = 60.0  # seconds, after which something is stuck
PATCH = pytest.MonkeyPatch()  # used in processes that end with the test


def _run(argv: Sequence[str], output: str, folder: str, environment: dict[str, str], largest_file: int | None) -> None:
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(folder)
    os.environ.update(environment)
    PATCH.setattr("catdog.drawing.curves.draw_curves", lambda history, path: None)  # takes longer than all else
    for room in ("trainer.folds", "runs.start"):  # one training, with new weights, unless the flags say otherwise
        PATCH.setattr(f"catdog.{room}.FEW", 0)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    from catdog.cli.main import main

    sys.exit(main(argv))


class Catdog:
    """`catdog ARGV` in a process of its own, in the folder that the test is in."""

    def __init__(self, *argv: object, largest_file: int | None = None) -> None:
        self.place = Path.cwd() / f"output-{time.monotonic_ns()}"
        environment = {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
        arguments = (list(map(str, argv)), str(self.place), str(Path.cwd()), environment, largest_file)
        self.process = CONTEXT.Process(target=_run, args=arguments)
        self.process.start()

    @property
    def output(self) -> str:
        return self.place.read_text() if self.place.exists() else ""

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until `condition` is true of what it does; fails if it ends before."""
        end = time.monotonic() + LIMIT
        while not condition():
            assert self.process.is_alive(), f"it ended too early: {self.output}"
            assert time.monotonic() < end, f"stuck: {self.output}"
            time.sleep(0.005)

    def send(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, limit: float = LIMIT) -> int:
        """The exit status: the number of a signal that ended it, negated."""
        self.process.join(limit)
        stuck = self.process.is_alive()
        if stuck:
            self.process.kill()
            self.process.join()
        assert not stuck, f"stuck: {self.output}"
        assert self.process.exitcode is not None
        return self.process.exitcode
