"""Reads photos packed in tar shards (`catdog data pack`) by the paths that they had in their folder.

`packed/train/cat/1.jpg` is a photo of the packed set `packed`, although no file has that path: what lists folders and
opens photos asks here when there is no such file. `packed/shards.json` names the shards; each has an index beside it.

The photos lie in the shards in the order of a hash of their names, so that each shard is a fair sample of the split,
and one is found by bisection: by the first hash of each shard, then among the hashes of that shard.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from io import BufferedReader, BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from catdog.errors import CatdogError, ImageError
from catdog.images.limits import MAX_BYTES, check_bytes

if TYPE_CHECKING:
    from concurrent.futures import Future

    from catdog.images.store import Store

SET_FILE = "shards.json"
FORMAT = "catdog shards 1"


def name_hash(name: str) -> int:
    """64 bits of BLAKE2b of a photo's name in its set, with slashes: its place in the shards."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Packed:
    """A photo in a shard: `size` bytes from `offset` on, of which `crc32` is the checksum."""

    shard: Path
    offset: int
    size: int
    crc32: int
    store: "Store | None" = field(default=None, compare=False, repr=False)
    """Where the shard is a mirror's, which has holes: what fills them."""

    @property
    def status(self) -> Any:
        """What os.stat says of a file; its checksum stands for the time of the last change."""
        return SimpleNamespace(st_mode=stat.S_IFREG, st_size=self.size, st_mtime_ns=self.crc32, st_ctime_ns=0)

    def here(self) -> bytes:
        """What the shard on this machine holds in the place of the photo."""
        with contextlib.suppress(FileNotFoundError), open(self.shard, "rb", buffering=0) as file:
            file.seek(self.offset)
            return file.read(self.size)
        return b""

    def fits(self, data: bytes) -> bool:
        """Whether `data` are the bytes that were packed."""
        return len(data) == self.size and zlib.crc32(data) == self.crc32

    def read(self) -> bytes:
        """The bytes of the photo's file, as they were packed. Raises ImageError where the shard has others."""
        check_bytes(self.size)
        try:
            data = self.here()
        except OSError as error:
            raise ImageError(f"its shard {self.shard} cannot be read: {error.strerror}") from None
        if self.fits(data):
            return data
        if self.store is not None:
            return self.store.bring([self])
        what = "cut off, or missing" if len(data) < self.size else "damaged"
        raise ImageError(
            f"its shard is {what}: copy {self.shard} again from where it is whole, or pack the photos again"
        )


@dataclass(frozen=True)
class Shard:
    """What an index says of the photos of one shard, in the order of `hashes`."""

    hashes: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    crc32: np.ndarray


class PackedSet:
    """The set in the folder `root`, of which shards.json says what is in `about`. ValueError or the like for nonsense."""

    def __init__(self, root: str, about: dict[str, Any]) -> None:
        self.root = Path(root)
        self.folders: dict[str, list[str]] = about["folders"]
        """Class names by split folder, or those of "" where there are no splits."""
        self.shards: list[dict[str, Any]] = sorted(about["shards"], key=lambda one: (one["folder"], one["first"]))
        for one in self.shards:
            if not re.fullmatch(r"[\w-]+\.tar", one["name"], re.ASCII):  # it may be anybody's, and lead anywhere
                raise ValueError("the name of a shard")
        self.store = _store(self.root)
        self._read: dict[int, Shard] = {}
        self._names: dict[str, list[str]] = {}

    @cached_property
    def _firsts(self) -> list[tuple[str, int]]:
        return [(shard["folder"], int(shard["first"], 16)) for shard in self.shards]

    def find(self, name: str) -> Packed | None:
        """The photo called `name`, if there is one."""
        first = name.partition("/")[0]
        sought = name_hash(name)
        number = bisect_right(self._firsts, (first if first in self.folders else "", sought)) - 1
        if number < 0:
            return None
        if number not in self._read:
            self._load(number)
        shard = self._read[number]
        row = int(np.searchsorted(shard.hashes, np.uint64(sought)))
        if row == len(shard.hashes) or int(shard.hashes[row]) != sought:
            return None
        path = self.root / self.shards[number]["name"]
        return Packed(path, int(shard.offsets[row]), int(shard.sizes[row]), int(shard.crc32[row]), self.store)

    def _load(self, number: int) -> list[str]:
        """Read one shard's index; returns its photos' names. Raises CatdogError where it is not the one of this set."""
        about = self.shards[number]
        path = self.root / index_name(about["name"])

        def fault(data: bytes) -> str:
            right = hashlib.sha256(data).hexdigest() == about["index_sha256"]
            return "" if right else f"it is not the index that {SET_FILE} belongs to"

        try:
            data = path.read_bytes() if self.store is None or path.exists() else b""
        except OSError as error:
            raise _broken(path, f"cannot be read ({error.strerror})") from None
        if fault(data):
            if self.store is None:
                raise _broken(path, f"is not the index that {SET_FILE} beside it belongs to")
            data = self.store.bring_file(path.name, fault)
        try:
            index = json.loads(data)
            names: list[str] = index["names"]
            hashes = np.fromiter(map(name_hash, names), np.uint64, len(names))
            columns = [np.array(index[column], np.int64) for column in ("offsets", "sizes", "crc32")]
            wrong = any(column.shape != hashes.shape or column.min(initial=0) < 0 for column in columns)
            if wrong or (hashes[1:] <= hashes[:-1]).any() or any(map(_leads_elsewhere, names)):
                raise ValueError("what no index says")
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
            raise _broken(path, "is damaged") from None
        self._read[number] = Shard(hashes, *columns)
        return names

    def names(self, folder: str) -> Sequence[str]:
        """Names of all photos of a split folder ("" without splits), in the order in which its files were listed.

        Raises CatdogError where a shard is missing, or not as long as it was written.
        """
        if folder not in self._names:
            mine = [number for number, about in enumerate(self.shards) if about["folder"] == folder]
            if self.store is None:
                for number in mine:
                    self._check_length(self.shards[number])
            load = self.store.each if self.store is not None else map
            found = [name for names in load(self._load, mine) for name in names]
            found.sort(key=_in_order)
            self._names[folder] = found
        return self._names[folder]

    def _check_length(self, about: dict[str, Any]) -> None:
        path = self.root / about["name"]
        size = path.stat().st_size if path.exists() else None
        if size is None:
            raise _broken(path, f"is missing, which {SET_FILE} beside it names")
        if size != about["bytes"]:
            raise _broken(path, f"has {size:,} bytes, and {SET_FILE} beside it says {about['bytes']:,}")

    def below(self, folder: str) -> Iterator[str]:
        """Names relative to `folder` of all photos at any depth below it, in order."""
        prefix = f"{folder}/" if folder else ""
        split = folder.partition("/")[0] if "" not in self.folders else ""
        for one in [split] if split or "" in self.folders else sorted(self.folders):
            names = self.names(one)
            start = bisect_left(names, _in_order(prefix), key=_in_order)
            for row in range(start, len(names)):
                if not names[row].startswith(prefix):
                    break
                yield names[row][len(prefix) :]

    def entries(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Name of each entry directly in `folder`, and whether it is a folder."""
        if folder in self.folders:
            yield from ((name, True) for name in self.folders[folder])
        elif not folder:
            yield from ((name, True) for name in sorted(self.folders))
        else:
            before = ""
            for path in self.below(folder):
                name, slash, _ = path.partition("/")
                if name != before:
                    yield name, bool(slash)
                before = name

    def has_folder(self, folder: str) -> bool:
        split, _, rest = ("", "", folder) if "" in self.folders else folder.partition("/")
        if not folder or (split in self.folders and (not rest or rest in self.folders[split])):
            return True
        return split in self.folders and any(True for _ in self.below(folder))


def _leads_elsewhere(name: str) -> bool:
    """Whether a name is none of a file below the set's folder: /etc/passwd, ../1.jpg, cat//1.jpg."""
    return re.search(r"(?:^|/)\.{0,2}(?:/|$)", name) is not None


def _in_order(name: str) -> str:
    """The key by which names sort as files that are listed folder by folder: no part of a name is below a slash."""
    return name.replace("/", "\0")


def index_name(shard: str) -> str:
    """The name of the index of a shard."""
    return f"{shard.removesuffix('.tar')}.json"


def _broken(path: Path, what: str) -> CatdogError:
    return CatdogError(f"{path} {what}; copy the packed set again, whole, or pack the photos again: catdog data pack")


def _find(path: str | os.PathLike[str]) -> tuple[PackedSet, str] | None:
    """The packed set that `path` is, or leads into, and the rest of the path, with slashes."""
    whole = os.path.abspath(os.fsdecode(path))
    root = whole
    while True:
        file = os.path.join(root, SET_FILE)
        try:
            status = os.stat(file)
        except OSError:
            pass
        else:
            if found := _open(root, status.st_mtime_ns, status.st_size, status.st_ino):
                return found, whole[len(root) :].replace(os.sep, "/").strip("/")
        parent = os.path.dirname(root)
        if parent == root:
            return None
        root = parent


@lru_cache(8)
def _open(root: str, *identity: int) -> PackedSet | None:
    """The set whose shards.json is in `root`; None where that is another program's. identity: of that file."""
    path = Path(root, SET_FILE)
    try:
        about = json.loads(path.read_bytes())
    except OSError as error:
        raise _broken(path, f"cannot be read ({error.strerror})") from None
    except ValueError:
        raise _broken(path, "is damaged") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        return None
    try:
        return PackedSet(root, about)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _broken(path, "is damaged") from None


def _store(root: Path) -> "Store | None":
    """The store of which `root` is the mirror, if it is one."""
    if not (root / "store.json").exists():
        return None
    from catdog.images.store import Store

    return Store(root)


class PackedFolder:
    """A folder of a packed set, which lies on no disk."""

    def __init__(self, packed: PackedSet, folder: str) -> None:
        self._packed, self._folder = packed, folder

    def entries(self) -> Iterator[tuple[str, bool]]:
        return self._packed.entries(self._folder)

    def files(self) -> Iterator[str]:
        return (name.replace("/", os.sep) for name in self._packed.below(self._folder))

    def order(self, paths: Sequence[str]) -> np.ndarray:
        """int64: rows of the photos, at `paths` relative to this folder, in the order of the shards."""
        prefix = f"{self._folder}/" if self._folder else ""
        names = (prefix + path.replace(os.sep, "/") for path in paths)
        return np.argsort(np.fromiter(map(name_hash, names), np.uint64, len(paths)), kind="stable")


def find_folder(path: str | os.PathLike[str]) -> PackedFolder | None:
    """The folder of a packed set that has this path, if there is one."""
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


def begin_reading(paths: Sequence[str]) -> "list[Future[None]]":
    """Begin to bring those of the photos here that lie in a store; returns what to wait for before they are read."""
    by_store: dict[Store, list[Packed]] = {}
    for photo in map(find_photo, paths):
        if photo is not None and photo.store is not None and photo.size <= MAX_BYTES:
            by_store.setdefault(photo.store, []).append(photo)
    return [future for store, photos in by_store.items() for future in store.begin(photos)]
