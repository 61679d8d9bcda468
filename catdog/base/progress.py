"""Progress on the terminal: a bar on standard error, none where that is not a terminal."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


def bar(what: str, total: int | None = None, unit: str = " photos", *, hidden: bool = False, **options: Any) -> Any:
    """Make a progress bar, gone when it is closed; without `total` it counts up. It is a context manager."""
    hidden = hidden or sys.stderr is None or not sys.stderr.isatty()
    columns, rows = shutil.get_terminal_size()  # 80 x 24 of one that does not tell, where tqdm would show nothing
    return tqdm(total=total, desc=what, unit=unit, disable=hidden, leave=False, ncols=columns, nrows=rows, **options)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is going on whose end cannot be told."""
    with bar(f"{what} ...", bar_format="{desc}"):
        yield
