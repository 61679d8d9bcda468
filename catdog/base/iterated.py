"""Progress on the terminal of what is iterated."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar

from catdog.base.progress import bar, working

T = TypeVar("T")


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
