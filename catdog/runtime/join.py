"""Joins the processes that torchrun has started for one training, if it has."""

import contextlib
import os
from collections.abc import Iterator

from catdog.runtime.world import ALONE, VARIABLES, World


@contextlib.contextmanager
def join_world() -> Iterator[World]:
    """The world of processes that this one was started in, or `ALONE`."""
    if any(name not in os.environ for name in VARIABLES) or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    from catdog.runtime.distributed import join_processes  # which one process does without

    with join_processes() as world:
        yield world
