"""`catdog data pack`: packs a folder of photos into tar shards in WebDataset's layout, with an index.

A shard holds for each photo 000000042.jpg, the file as it is, and 000000042.json, its name and class: WebDataset takes
what stands before the first dot for the key of a sample, so names of people's files, which have dots of their own or
differ in their endings alone, cannot be the keys. `catdog.images.packed` reads the set.

The bytes depend on the photos' names and contents alone. A shard appears whole or not at all, and shards.json last.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from catdog.base.atomic import is_temporary, write_atomic, write_if_other
from catdog.base.locks import Held, unlock
from catdog.base.progress import bar
from catdog.base.text import in_shell, many
from catdog.base.work_folder import make_and_lock
from catdog.data.listing import Listing
from catdog.data.remarks import remarks
from catdog.errors import CatdogError
from catdog.images.packed import FORMAT, index_name, name_hash
from catdog.images.packed_files import SET_FILE
from catdog.images.packed_paths import open_photo, stat_photo
from catdog.tools.dataset.scan import list_splits

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 2**20
_MEGABYTE = 10**6
_ELSEWHERE = "give another folder"
_PART = re.compile(rf"(?:train|val|test|photos)-\d{{6,}}\.(?:tar|json)|{re.escape(SET_FILE)}")


class _Photo(NamedTuple):
    """A photo to be packed: its path, its name in the set, the label of its class, its size in bytes, and as JSON what
    lies beside it."""

    path: str
    name: str
    label: int
    size: int
    about: bytes


def pack(root: Path, out: Path, shard_size: int) -> str:
    """Pack the photos in `root` into shards of at most `shard_size` megabytes in `out`; returns what was done.

    Raises CatdogError where there are no photos, one cannot be read, or `out` holds anything else.
    """
    if shard_size < 1:
        raise CatdogError(f"--shard-size must be at least 1 megabyte, not {shard_size}.")
    splits = list_splits(root)
    if not any(map(len, splits.values())):
        raise CatdogError(f"{root} holds no photos in class folders; put some in {root / 'cat'} and {root / 'dog'}.")
    if out.resolve().is_relative_to(root.resolve()):
        raise CatdogError(f"{out} lies in the folder of photos {root}, in which nothing is written; give another.")
    for remark in remarks(root, *splits.values()):
        print(remark, file=sys.stderr)
    try:
        handle = make_and_lock(out)
    except Held:
        raise CatdogError(f"another process is packing into {out}; wait for it, or give another folder.") from None
    except OSError as error:
        raise CatdogError(f"cannot make the folder {out}: {error.strerror}; give another.") from None
    try:
        earlier = _earlier_set(root, splits, out)
        return _pack(splits, out, shard_size * _MEGABYTE, earlier)
    except OSError as error:
        raise CatdogError(f"cannot write into {out}: {error.strerror}; make room or give another folder.") from None
    finally:
        unlock(handle)


def _earlier_set(root: Path, splits: dict[str, Listing], out: Path) -> list[Path]:
    """The files in `out` of a set that was packed there before, whole or not, of what was in `root` then.

    What a killed process left half written is removed. Raises CatdogError, and nothing is removed, where `out` holds
    anything else.
    """
    parts, unfinished, packed, known = [], [], [], {SET_FILE}
    for path in sorted(out.iterdir()):
        if is_temporary(path) and _PART.match(path.name[1:]):
            unfinished.append(path)
            continue
        about = _json_of(path) if _PART.fullmatch(path.name) and path.suffix == ".json" else {}
        if about.get("shard") == f"{path.stem}.tar":  # an index, which is written before its shard is
            known |= {path.name, about["shard"]}
            packed.append(np.fromiter(map(name_hash, about["names"]), np.uint64))
        if path.name not in known or (path.name == SET_FILE and about.get("format") != FORMAT):
            raise CatdogError(f"{out} holds {path.name}, which is no part of a packed set; give another folder.")
        parts.append(path)
    if packed:
        before = np.concatenate(packed)
        now = np.concatenate([_hashes(listing, _folder(split, listing)) for split, listing in splits.items()])
        gone = int(np.isin(before, now, invert=True).sum())
        if 2 * gone > len(before):
            raise CatdogError(
                f"{out} holds a packed set of other photos: {gone:,} of its {len(before):,} are not in {root}; give "
                "another folder, or remove that one first."
            )
    for path in unfinished:
        path.unlink()
    return parts


def _json_of(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none."""
    with contextlib.suppress(OSError, ValueError):
        about = json.loads(path.read_bytes())
        return about if isinstance(about, dict) else {}
    return {}


def _pack(splits: dict[str, Listing], out: Path, most: int, earlier: Sequence[Path]) -> str:
    classes = sorted({name for listing in splits.values() for name in listing.classes})
    shards: list[dict[str, Any]] = []
    kept, written = {SET_FILE}, 0
    with bar("packing", sum(map(len, splits.values()))) as progress:
        for split, listing in splits.items():
            folder, first = _folder(split, listing), 0
            for number, photos in enumerate(_shards(listing.with_classes(classes, ""), folder, most)):
                path = out / f"{split or 'photos'}-{number:06}.tar"
                about, is_new = _pack_shard(path, photos, first)
                shards.append({"name": path.name, "folder": folder, **about})
                kept |= {path.name, index_name(path.name)}
                first += len(photos)
                written += is_new
                progress.update(len(photos))
    about_all = {
        "format": FORMAT,
        "classes": classes,
        "folders": {_folder(split, listing): listing.classes for split, listing in splits.items()},
    }
    text = _on_lines({**about_all, "shards": shards}, "shards")
    write_if_other(out / SET_FILE, text, _ELSEWHERE)
    for path in earlier:
        if path.name not in kept:  # of photos that were more, or shards that were smaller
            path.unlink()
    total = sum(one["bytes"] for one in shards)
    before = f" ({len(shards) - written:,} were there, whole)" if written < len(shards) else ""
    return (
        f"packed {many(sum(map(len, splits.values())), 'photo')} into {many(len(shards), 'shard')}{before}, "
        f"{total / _MEGABYTE:,.1f} MB; train on them: catdog train --data {in_shell(out)}"
    )


def _shards(listing: Listing, folder: str, most: int) -> Iterator[list[_Photo]]:
    """The photos of each shard, in the order of the hashes of their names."""
    hashes = _hashes(listing, folder)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(np.diff(hashes[order]) == 0)
    if len(same):
        one, other = (listing.path(int(row)) for row in order[same[0] :][:2])
        raise CatdogError(f"the names {one} and {other} have the same 64-bit hash; rename one of them.")
    shard: list[_Photo] = []
    used, room = 0, most - most % tarfile.RECORDSIZE - 2 * _BLOCK  # whole records, the last with two empty blocks
    for row in map(int, order):
        path, name, label = listing.path(row), _name(listing.paths[row], folder), listing.labels[row]
        about = json.dumps({"name": name, "class": listing.classes[label], "label": label}).encode()
        photo = _Photo(path, name, label, _size(path), about)
        needed = sum(_BLOCK + size + -size % _BLOCK for size in (photo.size, len(about)))  # with their headers
        if shard and used + needed > room:
            yield shard
            shard, used = [], 0
        shard.append(photo)
        used += needed
    if shard:
        yield shard


def _folder(split: str, listing: Listing) -> str:
    """The name in the set of the folder of a split, "" where there are none."""
    return listing.root.name if split else ""


def _hashes(listing: Listing, folder: str) -> np.ndarray:
    """uint64, N: the hashes of the photos' names in the set."""
    return np.fromiter((name_hash(_name(path, folder)) for path in listing.paths), np.uint64, len(listing))


def _name(path: str, folder: str) -> str:
    """The name in the set of a photo of the split folder `folder`, or of "" without splits."""
    return f"{folder}/{path}".lstrip("/").replace(os.sep, "/")


def _size(path: str) -> int:
    try:
        status = stat_photo(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise CatdogError(f"{path} is no ordinary file, so it cannot be packed; remove it, and run this again.")
    return int(status.st_size)


def _unreadable(path: str, error: OSError) -> CatdogError:
    return CatdogError(f"cannot read {path}: {error.strerror}; mend or remove it, and run this again: it goes on.")


def _pack_shard(path: Path, photos: Sequence[_Photo], first: int) -> tuple[dict[str, Any], bool]:
    """Make the shard `path`, whose first photo is number `first`, or keep the one that is there if it is the same.

    Returns what shards.json says of it, and whether it was written.
    """
    writer = _ShardWriter(None)

    def write_index() -> bytes:
        index = _on_lines({"shard": path.name, "sha256": writer.sha256.hexdigest(), **writer.columns})
        write_if_other(path.with_name(index_name(path.name)), index, _ELSEWHERE)
        return index

    if is_there := path.exists():
        writer.write_all(photos, first)
        with open(path, "rb") as file:
            is_there = hashlib.file_digest(file, "sha256").digest() == writer.sha256.digest()
    if not is_there:
        (path.parent / SET_FILE).unlink(missing_ok=True)  # the set is not whole until the end

        def write(file: BinaryIO) -> None:
            nonlocal writer
            writer = _ShardWriter(file)
            writer.write_all(photos, first)
            write_index()

        write_atomic(path, write, elsewhere=_ELSEWHERE)
    index = write_index()
    return {
        "photos": len(photos),
        "bytes": writer.at,
        "first": f"{name_hash(photos[0].name):016x}",
        "index_sha256": hashlib.sha256(index).hexdigest(),
    }, not is_there


class _ShardWriter:
    """Writes a shard to `file`, or nowhere, and notes what its index says of it."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self.sha256, self.at = hashlib.sha256(), 0
        self.columns: dict[str, list[Any]] = {name: [] for name in ("names", "labels", "offsets", "sizes", "crc32")}

    def write_all(self, photos: Sequence[_Photo], first: int) -> None:
        for number, photo in enumerate(photos, start=first):
            key = f"{number:09}"
            self._write_header(key + os.path.splitext(photo.name)[1].lower(), photo.size)
            offset, crc32 = self.at, self._copy(photo)
            for column, value in zip(self.columns, (photo.name, photo.label, offset, photo.size, crc32), strict=True):
                self.columns[column].append(value)
            self._write_header(f"{key}.json", len(photo.about))
            self._write(photo.about)
            self._pad(_BLOCK)
        self._write(bytes(2 * _BLOCK))
        self._pad(tarfile.RECORDSIZE)

    def _write_header(self, name: str, size: int) -> None:
        member = tarfile.TarInfo(name)  # of no owner and no time
        member.size = size
        self._write(member.tobuf(tarfile.USTAR_FORMAT if size < 8 * 2**30 else tarfile.GNU_FORMAT))

    def _copy(self, photo: _Photo) -> int:
        """Copy the file of a photo; returns its checksum."""
        crc32, left = 0, photo.size
        for chunk in _read(photo.path):
            crc32, left = zlib.crc32(chunk, crc32), left - len(chunk)
            self._write(chunk)
        if left:
            raise CatdogError(f"{photo.path} changed while it was packed; run this again when it is at rest.")
        self._pad(_BLOCK)
        return crc32

    def _write(self, data: bytes) -> None:
        self.sha256.update(data)
        self.at += len(data)
        if self._file is not None:
            self._file.write(data)

    def _pad(self, to: int) -> None:
        self._write(bytes(-self.at % to))


def _read(path: str) -> Iterator[bytes]:
    """The bytes of a photo's file, some at a time. Raises CatdogError where it cannot be read."""
    try:
        with open_photo(path) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise _unreadable(path, error) from None


def _on_lines(about: dict[str, Any], spread: str = "") -> bytes:
    """JSON with a line for each key, and for each item of the list `spread`."""
    lines = []
    for key, value in about.items():
        text = json.dumps(value)
        if key == spread:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
