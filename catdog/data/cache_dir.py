"""What the cache folder keeps, decoded pixels and the drawn set: listed, bounded, cleared."""

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from catdog.base.text import many
from catdog.data.cache_folder import DRAWN
from catdog.errors import CatdogError
from catdog.images.packed_files import STORE_FILE
from catdog.images.store import bytes_on_disk

PIXELS = "pixels"
STORES = "stores"  # mirrors of packed sets that lie elsewhere (`catdog.data.remote`)
ABOUT_FILE = "entry.json"
_REMOVED = ".removed-"
GIGABYTE = 10**9


@dataclass(frozen=True)
class Entry:
    """Something kept: a folder, what it was made from, its size in bytes, and when it was last used (Unix time)."""

    path: Path
    made_from: str
    size: int
    used: float


def entries(folder: Path) -> list[Entry]:
    """What is kept in `folder`, the last used first; nothing where there is no such folder."""
    found = []
    kept = [*_folders(folder / PIXELS), *_folders(folder / STORES)]
    for path in [*kept, *(path for path in _folders(folder) if path.name.startswith(DRAWN))]:
        with contextlib.suppress(OSError):  # somebody else is removing it
            found.append(Entry(path, _made_from(path), _size(path), _used(path)))
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return []


def _made_from(path: Path) -> str:
    if path.name.startswith(DRAWN):
        return "drawn cats and dogs"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if path.parent.name == STORES:
            return f"photo files of {json.loads((path / STORE_FILE).read_text(encoding='utf-8'))['url']}"
        about = json.loads((path / ABOUT_FILE).read_text(encoding="utf-8"))
        height, width = about["size"]
        return f"{many(int(about['photos']), 'photo')} at {width} x {height} of {about['root']}"
    return "something damaged"


def _size(path: Path) -> int:
    return sum(bytes_on_disk(file.stat()) for file in path.rglob("*") if file.is_file())


def _used(path: Path) -> float:
    about = path / ABOUT_FILE
    return (about if about.exists() else path).stat().st_mtime


def note_use(path: Path) -> None:
    """Remember that the entry at `path` was used now."""
    with contextlib.suppress(OSError):
        os.utime(path / ABOUT_FILE)


def make_room(folder: Path, needed: int, limit: float) -> None:
    """Remove the pixels used longest ago, until `needed` bytes more keep the folder under `limit` gigabytes, without
    the mirrors of stores, which have the same limit each.

    Processes that read a removed entry keep what they have mapped. Raises CatdogError where `needed` alone is too much.
    """
    if needed > limit * GIGABYTE:
        raise CatdogError(
            f"the decoded pixels take {needed / GIGABYTE:.1f} GB, more than cache_limit (--cache-limit) {limit:g} "
            "allows; raise it, choose a smaller --image-size, or keep none with --cache none."
        )
    kept = [entry for entry in entries(folder) if entry.path.parent.name != STORES]  # mirrors bound themselves
    total = sum(entry.size for entry in kept)
    kept = [entry for entry in kept if entry.path.parent.name == PIXELS]  # a drawn set may be about to be read
    while kept and total + needed > limit * GIGABYTE:
        total -= kept[-1].size
        remove(kept.pop())


def remove(entry: Entry) -> None:
    """Remove an entry; at each moment it is whole or not there."""
    gone = entry.path.with_name(_REMOVED + entry.path.name)
    shutil.rmtree(gone, ignore_errors=True)  # left over, where a process was killed here
    with contextlib.suppress(OSError):
        entry.path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
