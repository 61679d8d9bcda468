"""Decoded pixels, kept between runs: each photo is decoded once, not once an epoch.

An entry is a folder named by a hash of what it was made from (every photo's path, size and times, the picture size,
the decoder). It is written under a temporary name and renamed, so it is there whole or not at all, and it
may be deleted at any time. Of two processes that want the same entry, one writes it and the other waits.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import simplejpeg

from catdog.architecture import Resize
from catdog.base.work_folder import claimed_folder, remove_abandoned
from catdog.data.cache_dir import ABOUT_FILE, PIXELS, make_room, note_use
from catdog.data.cache_folder import folder_of
from catdog.data.decode_pool import DecodePool
from catdog.data.listing import Listing
from catdog.data.shard_order import decode_in_shard_order
from catdog.errors import CatdogError, ImageError
from catdog.images.decoder import decode_files
from catdog.images.geometry import RESIZE_FILTER
from catdog.images.packed_paths import stat_photo

FORMAT = 3  # of an entry, and of what the decoder makes of a photo: raise it when either changes
_UNFINISHED = ".writing-"
_TRIED = 64  # skipped photos, at most, that are tried again
_DONE = "done"  # a file in an unfinished entry: how many of its photos are decoded


@dataclass(frozen=True)
class Decoded:
    """`pixels`: uint8, N x 3 x H x W, a row for each photo of the listing that could be read, in order.

    `skipped`: index in the listing -> why it could not be.
    """

    pixels: np.ndarray
    skipped: dict[int, str]


def decode_all(
    listing: Listing,
    size: tuple[int, int],
    resize: Resize = "squash",
    *,
    cache: str = "auto",
    limit: float = math.inf,
    threads: int = 1,
    strict: bool = False,
    progress: Callable[[int], object] = lambda count: None,
    pool: DecodePool | None = None,
) -> Decoded:
    """Every photo of `listing` resized to `size` (height, width), from the cache if it is there.

    resize: as for `catdog.images.decode`.
    cache: a folder, "auto" (the user's cache folder) or "none" (memory alone); what was used longest ago is removed
    from it to keep it under `limit` gigabytes. `progress` is given the number of photos done at each turn. With
    `strict` the first unreadable photo raises its error. `pool`: decodes, and is left open.

    Where another process is writing the same entry, this one waits for it and then reads it.
    """
    shape = (len(listing), 3, *size)
    with contextlib.ExitStack() as stack:
        decoder = pool or stack.enter_context(DecodePool(size, threads, len(listing), resize))
        if cache == "none":
            return _decode_into(np.empty(shape, np.uint8), listing, decoder, strict, progress)
        folder = folder_of(cache) / PIXELS
        entry = folder / _key(
            listing, size, resize
        )  # by the photos as they are now: what changes meanwhile is not in it
        if (found := _read(entry, listing, size, resize, strict)) is not None:
            return found
        make_room(folder.parent, math.prod(shape), limit)
        try:
            remove_abandoned(folder, _UNFINISHED)
            counter = _Counter(folder / f"{_UNFINISHED}{entry.name}" / _DONE, progress)
            temporary = stack.enter_context(claimed_folder(counter.path.parent, counter.read))
            if (
                found := _read(entry, listing, size, resize, strict)
            ) is not None:  # the one that was waited for has written it
                return found
            pixels = _new_pixels(temporary, shape)
        except OSError as error:
            if cache != "auto":
                raise CatdogError(
                    f"cannot write the cache {folder}: {error.strerror}; make room, or give another --cache."
                ) from None
            return _decode_into(np.empty(shape, np.uint8), listing, decoder, strict, progress)
        decoded = _decode_into(pixels, listing, decoder, strict, counter.write)
        _finish_entry(temporary, entry, listing, decoded)
        return decoded


def decoded_before(listing: Listing, size: tuple[int, int], resize: Resize, cache: str) -> Decoded | None:
    """What `decode_all` would find in the cache, if it is there."""
    if cache == "none":
        return None
    return _read(folder_of(cache) / PIXELS / _key(listing, size, resize), listing, size, resize, strict=False)


class _Counter:
    """How many photos of an entry are done: written by the process that decodes, read by those that wait for it."""

    def __init__(self, path: Path, progress: Callable[[int], object]) -> None:
        self.path, self.progress = path, progress
        self.done = 0

    def write(self, count: int) -> None:
        self.done += count
        with contextlib.suppress(OSError):
            self.path.write_text(str(self.done))
        self.progress(count)

    def read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            done = int(self.path.read_text())
            self.progress(max(0, done - self.done))
            self.done = max(self.done, done)


def _new_pixels(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A file in `folder` to write pixels to. It has its room on the disk, so that a full one is noticed here."""
    path = folder / "pixels.npy"
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
    return pixels


def _finish_entry(temporary: Path, entry: Path, listing: Listing, decoded: Decoded) -> None:
    """Make the folder `temporary` the cache's entry."""
    if isinstance(decoded.pixels, np.memmap):  # not where no photo can be read
        decoded.pixels.flush()
    about = {
        "format": FORMAT,
        "root": str(listing.root.resolve()),
        "photos": len(decoded.pixels),
        "size": decoded.pixels.shape[2:],
        "skipped": decoded.skipped,
    }
    with contextlib.suppress(OSError):
        (temporary / _DONE).unlink(missing_ok=True)
        (temporary / ABOUT_FILE).write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(entry, ignore_errors=True)  # it may be there, but damaged
        temporary.rename(entry)


def _key(listing: Listing, size: tuple[int, int], resize: Resize) -> str:
    """A hash of everything that the pixels depend on."""
    made_from = hashlib.blake2b(digest_size=16)
    how = RESIZE_FILTER if resize == "squash" else f"{RESIZE_FILTER} {resize}"  # entries are older than the choice
    made_from.update(
        repr((FORMAT, PIL.__version__, simplejpeg.__version__, how, size, str(listing.root.resolve()))).encode()
    )
    for index, name in enumerate(listing.paths):
        try:
            status = stat_photo(listing.path(index))
            identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        except OSError:
            identity = (-1, 0, 0)
        made_from.update(repr((name, identity)).encode("utf-8", "surrogateescape"))
    return made_from.hexdigest()


def _read(entry: Path, listing: Listing, size: tuple[int, int], resize: Resize, strict: bool) -> Decoded | None:
    """The entry, its pixels mapped from the file, or None where there is none, or it is not whole or lacks photos that
    can be read now.

    With `strict` one that lacks photos raises the error of the first.
    """
    try:
        about = json.loads((entry / ABOUT_FILE).read_text(encoding="utf-8"))
        pixels = np.load(entry / "pixels.npy", mmap_mode="c")
        if about["format"] != FORMAT or pixels.shape != (len(listing), 3, *size) or pixels.dtype != np.uint8:
            return None
        skipped = {int(index): str(reason) for index, reason in about["skipped"].items()}
    except (OSError, ValueError, KeyError, AttributeError, EOFError):
        return None
    note_use(entry)
    if _some_can_be_read([listing.path(index) for index in skipped], size, resize):
        return None
    if strict and skipped:
        raise ImageError(next(iter(skipped.values())))
    return Decoded(pixels[: len(pixels) - len(skipped)], skipped)


def _some_can_be_read(paths: list[str], size: tuple[int, int], resize: Resize) -> bool:
    """Whether photos that were skipped can be read, though their files are the same: a drive is back, a shard was
    copied again. A few of them are tried, since such faults come and go together."""
    pixels = np.empty((1, 3, *size), np.uint8)
    return any(not decode_files([path], pixels, resize)[0] for path in paths[:: len(paths) // _TRIED + 1])


def _decode_into(
    pixels: np.ndarray, listing: Listing, pool: DecodePool, strict: bool, progress: Callable[[int], object]
) -> Decoded:
    """Decode every photo into its row of `pixels`; then close the gaps that unreadable ones have left."""
    skipped: dict[int, str] = {}
    try:
        for part in decode_in_shard_order(listing, pool, pixels) or pool.decode_all(listing.files, pixels):
            if strict and part.reasons:
                raise ImageError(next(iter(part.reasons.values())))
            skipped.update(part.reasons)
            progress(len(part.rows))
    except BaseException:
        pool.close()  # at an error or Ctrl-C nobody waits for more than a photo
        raise
    filled = 0
    for index in range(len(listing)) if skipped else ():
        if index not in skipped:
            pixels[filled] = pixels[index]
            filled += 1
    return Decoded(pixels[: len(listing) - len(skipped)], dict(sorted(skipped.items())))
