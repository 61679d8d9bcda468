"""Packed sets: photos in tar shards, as `catdog data pack` makes them, and their index.

shards.json names the shards; each has an index beside it. The photos lie in the shards in the order of a hash of their
names, so that each shard is a fair sample of the split, and one is found by bisection: by the first hash of each shard,
then among the hashes of that shard.
"""

import hashlib
import json
import re
import stat
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from catdog.errors import CatdogError, ImageError
from catdog.images.limits import check_bytes
from catdog.images.packed_files import SET_FILE, STORE_FILE

if TYPE_CHECKING:
    from catdog.images.store import Store

FORMAT = "catdog shards 1"


def name_hash(name: str) -> int:
    """64 bits of BLAKE2b of a photo's name in its set, with slashes: its place in the shards."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


class Packed(NamedTuple):
    """A photo in a shard: `size` bytes from `offset` on, of which `crc32` is the checksum.

    store: where the shard is a mirror's, which has holes, what fills them.
    """

    shard: str
    offset: int
    size: int
    crc32: int
    store: "Store | None"

    @property
    def status(self) -> Any:
        """What os.stat says of a file; its checksum stands for the time of the last change."""
        return SimpleNamespace(st_mode=stat.S_IFREG, st_size=self.size, st_mtime_ns=self.crc32, st_ctime_ns=0)

    def here(self) -> bytes:
        """What the shard on this machine holds in the place of the photo."""
        try:
            with open(self.shard, "rb", buffering=0) as file:
                file.seek(self.offset)
                return file.read(self.size)
        except FileNotFoundError:
            return b""

    def fits(self, data: bytes | memoryview) -> bool:
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
            from catdog.images.store import exactly

            return self.store.bring(exactly([self]))
        what = "cut off, or missing" if len(data) < self.size else "damaged"
        raise ImageError(
            f"its shard is {what}: copy {self.shard} again from where it is whole, or pack the photos again"
        )


class Shard(NamedTuple):
    """What an index says of the photos of one shard, in the order of `hashes`: 28 bytes a photo."""

    path: str
    hashes: "array[int]"
    offsets: "array[int]"
    sizes: "array[int]"
    crc32: "array[int]"


class PackedSet:
    """The set in the folder `root`, of which shards.json says `about`. Raises ValueError or the like for nonsense."""

    def __init__(self, root: str, about: dict[str, Any]) -> None:
        self.root = Path(root)
        self.folders: dict[str, list[str]] = about["folders"]
        """Class names by split folder, or those of "" where there are no splits."""
        self.shards: list[dict[str, Any]] = sorted(about["shards"], key=lambda one: (one["folder"], one["first"]))
        for one in self.shards:
            if not re.fullmatch(r"[\w-]+\.tar", one["name"], re.ASCII):  # it may be anybody's, and lead anywhere
                raise ValueError("the name of a shard")
        self.store = _store(self.root, {one["name"]: one["bytes"] for one in self.shards})
        self._read: dict[int, Shard] = {}
        self._names: dict[str, list[str]] = {}

    @cached_property
    def _firsts(self) -> list[tuple[str, int]]:
        return [(shard["folder"], int(shard["first"], 16)) for shard in self.shards]

    def first_hashes(self, folder: str) -> list[int]:
        """The hash of the first photo in each shard of a split folder ("" without splits), ascending."""
        return [first for of, first in self._firsts if of == folder]

    def shard_sizes(self, folder: str) -> list[int]:
        """Bytes of each shard of a split folder ("" without splits)."""
        return [about["bytes"] for about in self.shards if about["folder"] == folder]

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
        row = bisect_left(shard.hashes, sought)
        if row == len(shard.hashes) or shard.hashes[row] != sought:
            return None
        return Packed(shard.path, shard.offsets[row], shard.sizes[row], shard.crc32[row], self.store)

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
            hashes = array("Q", map(name_hash, names))
            columns = [array(kind, index[name]) for name, kind in (("offsets", "Q"), ("sizes", "Q"), ("crc32", "I"))]
            uneven = any(len(column) != len(names) for column in columns)
            if uneven or any(one >= next for one, next in pairwise(hashes)) or any(map(_leads_elsewhere, names)):
                raise ValueError("what no index says")
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
            raise _broken(path, "is damaged") from None
        self._read[number] = Shard(str(self.root / about["name"]), hashes, *columns)
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


@lru_cache(8)
def open_set(root: str, *identity: int) -> PackedSet | None:
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


def _store(root: Path, sizes: dict[str, int]) -> "Store | None":
    """The store of which `root` is the mirror, if it is one."""
    if not (root / STORE_FILE).exists():
        return None
    from catdog.images.store import Store

    return Store(root, sizes)
