"""Locks on folders, which leave no file behind and go with the process however it ends; folders to work in."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}  # what some network file systems say


class Held(Exception):
    """Somebody else holds the lock."""


def lock(folder: Path, wait: bool = False) -> int | None:
    """Lock `folder` until what comes back is given to `unlock`; None where the system has no such locks.

    Raises Held if somebody else holds it and it was not told to wait.
    """
    if os.name != "posix":
        return None
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        raise Held from None
    except OSError as error:
        os.close(handle)
        if error.errno in _NO_LOCKS:
            return None
        raise
    return handle


def unlock(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


@contextlib.contextmanager
def new_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent` to work in, locked; gone at the end, unless it was renamed."""
    parent.mkdir(parents=True, exist_ok=True)
    parents = lock(parent, wait=True)  # so that nobody takes it for abandoned before it is locked
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        handle = lock(folder)
    finally:
        unlock(parents)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        unlock(handle)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the folders in `parent` whose makers were killed; only `new_folder` may use that prefix there."""
    with contextlib.suppress(OSError):
        parents = lock(parent, wait=True)
        try:
            for folder in parent.glob(f"{prefix}*"):
                with contextlib.suppress(Held, OSError):
                    handle = lock(folder)
                    if handle is not None:
                        shutil.rmtree(folder, ignore_errors=True)
                        unlock(handle)
        finally:
            unlock(parents)
