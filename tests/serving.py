"""Fixtures: a server with a small run and drawn photos, in a thread, and requests to it."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import drawn_photos
import pytest

from catdog.config.toml import load_config

if TYPE_CHECKING:
    import httpx

    from catdog.server.serve import Server

SMALL = {"image_size": (12, 16), "hidden": (16, 12), "epochs": 2, "batch_size": 8, "learning_rate": 3e-3}
ALONE = {"device": "cpu", "threads": 1, "folds": 1, "start_from": "none", "cache": "none"}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/ (drawn cats and dogs) and runs/small, a network that was trained on them for a moment."""
    from conftest import quiet, without_curves

    from catdog.train import train

    folder = tmp_path_factory.mktemp("served")
    photos = drawn_photos.fill(folder / "photos", 12)
    fields = {"data": str(photos), "out": str(folder / "runs" / "small"), **SMALL, **ALONE}
    with without_curves():
        train(load_config(None, fields), log=quiet)
    return folder


@pytest.fixture(scope="session")
def start(place: Path) -> "Iterator[Callable[..., Server]]":
    """start(token=None) -> a server in a thread, which answers already; all end with the tests."""
    from catdog.server.networks import Networks
    from catdog.server.serve import Server
    from catdog.server.state import State

    running = []

    def begin(token: str | None = None, runs: Path = place / "runs") -> "Server":
        model = runs / "small" / "model.safetensors"
        server = Server(State(Networks(runs, model), data=place), "127.0.0.1", 0, token)
        thread = threading.Thread(target=server.answer, daemon=True)
        thread.start()
        running.append((server, thread))
        end = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        return server

    yield begin
    for server, thread in running:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def served(start: "Callable[..., Server]") -> "Server":
    return start()


@pytest.fixture
def ask(served: "Server") -> "Iterator[httpx.Client]":
    """A client of that server, for programs."""
    import httpx

    with httpx.Client(base_url=served.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_photos.save(tmp_path_factory.mktemp("photo") / "tom.jpg", "cat", 5, (240, 320))
