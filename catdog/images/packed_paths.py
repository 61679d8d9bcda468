"""Paths that lead into packed sets (`catdog.images.packed`).

`packed/train/cat/1.jpg` is a photo of the set in the folder `packed`, although no file has that path: what lists
folders and opens photos asks here when there is no such file.
"""

import os
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from catdog.images.limits import MAX_BYTES
from catdog.images.packed import Packed, PackedSet, name_hash, open_set
from catdog.images.packed_files import SET_FILE

if TYPE_CHECKING:
    from concurrent.futures import Future

    from catdog.images.store import Store


def _find(path: str | os.PathLike[str]) -> tuple[PackedSet, str] | None:
    """The packed set that `path` is, or leads into, and the rest of the path, with slashes."""
    whole = os.path.abspath(os.fsdecode(path))
    try:
        root = _root_above(os.path.dirname(whole))
    except LookupError:
        root = whole
    found = _set_in(root)
    return None if found is None else (found, whole[len(root) :].replace(os.sep, "/").strip("/"))


@lru_cache(1024)
def _root_above(folder: str) -> str:
    """The folder of the packed set that `folder` is or leads into. Raises LookupError, which is not remembered."""
    while _set_in(folder) is None:
        above = os.path.dirname(folder)
        if above == folder:
            raise LookupError
        folder = above
    return folder


def _set_in(root: str) -> PackedSet | None:
    """The packed set whose shards.json is in the folder `root`: it is looked at once a second, for many photos."""
    return _set_as_of(root, int(time.monotonic()))


_mirrors: dict[str, PackedSet] = {}  # by folder: where one has been removed, what is read of the set makes it again


@lru_cache(1024)
def _set_as_of(root: str, second: int) -> PackedSet | None:
    try:
        status = os.stat(f"{root}{os.sep}{SET_FILE}")
    except OSError:
        return _mirrors.get(root)
    found = open_set(root, status.st_mtime_ns, status.st_size, status.st_ino)
    if found is not None and found.store is not None:
        _mirrors[root] = found
    return found


class PackedFolder:
    """A folder of a packed set, which lies on no disk."""

    def __init__(self, packed: PackedSet, folder: str) -> None:
        self._packed, self._folder = packed, folder

    def entries(self) -> Iterator[tuple[str, bool]]:
        return self._packed.entries(self._folder)

    def files(self) -> Iterator[str]:
        return (name.replace("/", os.sep) for name in self._packed.below(self._folder))

    def order(self, paths: Sequence[str]) -> np.ndarray:
        """int64, N: rows of the photos, at `paths` relative to this folder, in the order of the shards."""
        return np.argsort(self._hashes(paths), kind="stable")

    def shards(self, paths: Sequence[str]) -> np.ndarray:
        """int64, N: the number of the shard, in this folder's split, of each of the photos."""
        firsts = self._packed.first_hashes(self._folder)
        return np.searchsorted(np.array(firsts, np.uint64), self._hashes(paths), side="right") - 1

    def shard_sizes(self) -> list[int]:
        """Bytes of each shard of this folder's split."""
        return self._packed.shard_sizes(self._folder)

    def _hashes(self, paths: Sequence[str]) -> np.ndarray:
        prefix = f"{self._folder}/" if self._folder else ""
        names = (prefix + path.replace(os.sep, "/") for path in paths)
        return np.fromiter(map(name_hash, names), np.uint64, len(paths))


def find_folder(path: str | os.PathLike[str]) -> PackedFolder | None:
    """The folder of a packed set that has this path, if there is one, as it is now."""
    _set_as_of.cache_clear()
    found = _find(path)
    return PackedFolder(*found) if found and found[0].has_folder(found[1]) else None


def find_photo(path: str | os.PathLike[str]) -> Packed | None:
    """The photo of a packed set that has this path, if there is one."""
    found = _find(path)
    return found[0].find(found[1]) if found else None


def stat_photo(path: str) -> Any:
    """os.stat of a photo, packed or a file."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        if (photo := find_photo(path)) is None:
            raise
        return photo.status


def open_photo(path: str) -> BufferedReader | BytesIO:
    """A photo, packed or a file, opened to be read."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        if (photo := find_photo(path)) is None:
            raise
        return BytesIO(photo.read())


def are_in_a_store(paths: Sequence[str]) -> bool:
    """Whether the first of the photos, and so as a rule all, lie in a store."""
    photo = find_photo(paths[0])
    return photo is not None and photo.store is not None


def begin_reading(paths: Sequence[str], blocks: bool = False) -> "list[Future[None]]":
    """Begin to bring those of the photos here that lie in a store; returns what to wait for before they are read.

    blocks: as for `catdog.images.store.Store.begin`.
    """
    by_store: dict[Store, list[Packed]] = {}
    for photo in map(find_photo, paths):
        if photo is not None and photo.store is not None and photo.size <= MAX_BYTES:
            by_store.setdefault(photo.store, []).append(photo)
    return [future for store, photos in by_store.items() for future in store.begin(photos, blocks)]
