"""Folders to work in: locked while they are in use, and gone at the end unless they were renamed."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from catdog.base.locks import Held, lock, unlock

_POLL = 0.02  # seconds between two tries to get a lock


def make_and_lock(folder: Path) -> int | None:
    """Lock `folder`, which is made if it is not there, as `lock` does; never one that was renamed or removed since."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # by a file, or by a folder that has gone before it was looked at
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(folder).st_mode):
                    raise
            continue
        with contextlib.suppress(FileNotFoundError):
            handle = lock(folder)
            if handle is None or _is_at(folder, handle):
                return handle
            unlock(handle)


def _is_at(folder: Path, handle: int) -> bool:
    """Whether the folder that was locked is the one that has the name now."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(folder), os.fstat(handle))
    return False


@contextlib.contextmanager
def claimed_folder(folder: Path, while_waiting: Callable[[], None]) -> Iterator[Path]:
    """Make and lock `folder`, to work in; gone at the end, unless it was renamed.

    Where another process has claimed it, `while_waiting` is called every now and then until that one has finished.
    """
    while True:
        try:
            handle = make_and_lock(folder)
            break
        except Held:
            while_waiting()
            time.sleep(_POLL)
    if handle is None:  # no locks here: another name, which nobody else takes
        folder = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        unlock(handle)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the folders in `parent` whose process was killed; only folders of this file may use that prefix."""
    with contextlib.suppress(OSError):
        parents = lock(parent, wait=True)
        try:
            for folder in parent.glob(f"{prefix}*"):
                with contextlib.suppress(Held, OSError):
                    handle = lock(folder)
                    if handle is not None and _is_at(folder, handle):
                        shutil.rmtree(folder, ignore_errors=True)
                    unlock(handle)
        finally:
            unlock(parents)
