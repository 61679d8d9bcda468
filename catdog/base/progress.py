"""Progress on the terminal: a bar on standard error, none where that is not a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


def bar(what: str, total: int | None = None, unit: str = " photos") -> Any:
    """Make a progress bar, gone when it is closed; without `total` it counts up. It is a context manager."""
    return tqdm(total=total, desc=what, unit=unit, disable=None, leave=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is going on whose end cannot be told."""
    with tqdm(total=1, desc=f"{what} ...", bar_format="{desc}", disable=None, leave=False):
        yield
