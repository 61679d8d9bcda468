"""Progress on the terminal: a bar on standard error, none where that is not a terminal."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def _is_hidden() -> bool:
    return sys.stderr is None or not sys.stderr.isatty()


def bar(what: str, total: int | None = None, unit: str = " photos") -> Any:
    """Make a progress bar, gone when it is closed; without `total` it counts up. It is a context manager."""
    return tqdm(total=total, desc=what, unit=unit, disable=_is_hidden(), leave=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is going on whose end cannot be told."""
    with tqdm(total=1, desc=f"{what} ...", bar_format="{desc}", disable=_is_hidden(), leave=False):
        yield


def waiting_for(items: Iterable[T], what: str) -> Iterator[T]:
    """Yield the items, and show `what` while each is computed."""
    source, end = iter(items), object()
    while True:
        with working(what):
            item: Any = next(source, end)
        if item is end:
            return
        yield item
