"""Progress on the terminal: a bar on standard error, none where that is not a terminal."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(what: str, total: int | None = None, unit: str = " photos", **options: Any) -> Any:
    """Make a progress bar, gone when it is closed; without `total` it counts up. It is a context manager."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    columns, rows = shutil.get_terminal_size()  # 80 x 24 of one that does not tell, where tqdm would show nothing
    return tqdm(
        total=total, desc=what, unit=unit, disable=not is_terminal, leave=False, ncols=columns, nrows=rows, **options
    )


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is going on whose end cannot be told."""
    with bar(f"{what} ...", bar_format="{desc}"):
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


def counting(items: Iterable[T], what: str, total: int, writes: Callable[[T], bool]) -> Iterator[T]:
    """Yield the items above a bar that counts them; the bar makes room for those of which something is printed."""
    with bar(what, total) as progress:
        for item in items:
            with progress.external_write_mode() if writes(item) else nullcontext():
                yield item
            progress.update()
