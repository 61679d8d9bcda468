"""Writes the folder of a report, replacing an older one, so that it is always complete."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from catdog.base.text import on_one_line
from catdog.drawing.page import is_page
from catdog.errors import CatdogError


def check_replaceable(folder: Path, names: Collection[str]) -> None:
    """Raise CatdogError if `folder` holds anything but files called `names`, or no page of catdog's with them, so that
    only a report is replaced."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CatdogError(f"{folder} is not a folder, so no report is written there; remove it, or give another --out.")
    if folder.resolve() == Path.cwd():
        raise CatdogError(
            f"{folder} is the folder that you are in, and a report is a folder of its own; name a new one."
        )
    if folder.is_dir():
        files = sorted(folder.iterdir())
        others = files if not any(map(is_page, files)) else [path for path in files if path.name not in names]
        if others:
            raise CatdogError(
                f"{folder} holds {on_one_line(others[0].name)}, which is no part of a report; give another --out."
            )


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace `folder` by one that holds `files` (name -> content): all of them appear at once, or none does.

    Raises CatdogError where that is impossible; the old folder is then unchanged.
    """
    new = _beside(folder)
    try:
        try:
            new.mkdir(parents=True)
            for name, data in files.items():
                with open(new / name, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            while not _put(new, folder):
                pass
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
    except OSError as error:
        raise CatdogError(
            f"cannot write the report {folder}: {error.strerror or error}; give another --out, or --json for the "
            "figures alone."
        ) from None


def _put(new: Path, folder: Path) -> bool:
    """Rename `new` to `folder`, in place of what is there; False where another process has put one there meanwhile."""
    old = _beside(folder)
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.rename(old)
        new.rename(folder)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        with contextlib.suppress(OSError):
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _beside(folder: Path) -> Path:
    """A new name beside `folder`."""
    return folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
