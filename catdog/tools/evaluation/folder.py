"""Writes the folder of a report, replacing an older one, so that it is always complete."""

import os
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from catdog.base.text import on_one_line
from catdog.errors import CatdogError


def check_replaceable(folder: Path, names: Collection[str]) -> None:
    """Raise CatdogError if `folder` holds anything but files called `names`, so that only a report is replaced."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CatdogError(f"{folder} is not a folder, so no report is written there; remove it, or give another --out.")
    if folder.resolve() == Path.cwd():
        raise CatdogError(
            f"{folder} is the folder that you are in, and a report is a folder of its own; name a new one."
        )
    if folder.is_dir():
        others = sorted(path.name for path in folder.iterdir() if path.name not in names)
        if others:
            raise CatdogError(
                f"{folder} holds {on_one_line(others[0])}, which is no part of a report; give another --out."
            )


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace `folder` by one that holds `files` (name -> content): all of them appear at once, or none does.

    Raises CatdogError where that is impossible; the old folder is then unchanged.
    """
    new, old = (folder.with_name(f".{folder.name}-{secrets.token_hex(4)}") for _ in range(2))
    try:
        try:
            new.mkdir(parents=True)
            for name, data in files.items():
                with open(new / name, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise CatdogError(
            f"cannot write the report {folder}: {error.strerror or error}; give another --out, or --json for the "
            "figures alone."
        ) from None
