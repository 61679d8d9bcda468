"""Locks folders (flock: no lock file, released when the process ends, however it ends)."""

import errno
import os
from pathlib import Path

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}  # of some network file systems


class Held(Exception):
    """Another process holds the lock."""


def lock(folder: Path, wait: bool = False) -> int | None:
    """Lock `folder` exclusively; return the handle for `unlock`, or None where the system has no such locks.

    Raises Held if another process holds the lock and `wait` is false.
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
    """Release the lock that `lock` returned."""
    if handle is not None:
        os.close(handle)
