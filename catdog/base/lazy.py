"""Imports the names that a room offers in its `__init__` when they are first asked for (PEP 562)."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def offer(room: str, files: Mapping[str, str]) -> Callable[[str], Any]:
    """A module-level `__getattr__` for the package `room`. files: name -> the file of the room that defines it."""

    def get(name: str) -> Any:
        if name not in files:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{files[name]}"), name)

    return get
