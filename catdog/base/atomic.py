"""Writes files atomically: to a temporary name, flushed to disk, then renamed."""

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from catdog.errors import CatdogError

_ELSEWHERE = "give another --out"


def write_atomic(
    path: Path, write: Callable[[BinaryIO], object], keep_as: Path | None = None, elsewhere: str = _ELSEWHERE
) -> None:
    """Write `path` atomically: `write` fills a temporary file, which is flushed to disk and renamed to `path`.

    A reader finds the old file or the new one, whole. With `keep_as` the old file is kept under that name. Raises
    CatdogError where the disk is full or cannot be written; the old files are then unchanged. elsewhere: how the user
    has it written somewhere else, for that error.
    """
    try:
        # A new name, opened only if it is not there yet: two writers do not meet, and no link is followed.
        temporary = _temporary(path)
        try:
            with open(temporary, "xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if keep_as is not None:
                _keep(path, keep_as)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error, elsewhere) from None


def write_if_other(path: Path, data: bytes, elsewhere: str = _ELSEWHERE) -> None:
    """Write `path` as `write_atomic` does, unless it holds these bytes already; one that cannot be read is replaced."""
    try:
        is_same = path.read_bytes() == data
    except OSError:
        is_same = False
    if not is_same:
        write_atomic(path, lambda file: file.write(data), elsewhere=elsewhere)


def cannot_write(path: Path, error: OSError, elsewhere: str = _ELSEWHERE) -> CatdogError:
    """The error of a file that cannot be written. elsewhere: how the user has it written somewhere else."""
    return CatdogError(
        f"cannot write {path}: {error.strerror or error}; what was saved before is whole: make room, or {elsewhere}."
    )


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a file is one that a killed process has left half written."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", path.name, re.DOTALL) is not None


def _keep(path: Path, keep_as: Path) -> None:
    """Hard-link the file at `path`, if there is one, to `keep_as`, replacing a file of that name."""
    if not os.path.lexists(path):
        return
    second = _temporary(keep_as)
    try:
        os.link(path, second, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        os.replace(path, keep_as)
        return
    try:
        os.replace(second, keep_as)
    finally:
        second.unlink(missing_ok=True)  # where both names are links to one file, os.replace does nothing


def _sync_folder(folder: Path) -> None:
    """Flush the folder's directory entries to disk, so that a rename survives a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8. Raises CatdogError as `write_atomic` does."""
    write_atomic(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))
