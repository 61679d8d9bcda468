"""Decoded pixels, kept between runs: each photo is decoded once, not once an epoch.

An entry is a folder named by a hash of what it was made from (every photo's path, size and times, the picture size,
the decoder). It is written under a temporary name and renamed, so it is there whole or not at all, and it
may be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from catdog.errors import CatdogError, ImageError
from catdog.files import Listing
from catdog.images import RESIZE_FILTER, decode

FORMAT = 1  # of an entry, and of what the decoder makes of a photo: raise it when either changes
_CHUNK = 64  # photos that one thread decodes in a turn


@dataclass(frozen=True)
class Skipped:
    """A photo that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Decoded:
    """`pixels`: uint8, N x 3 x H x W, a row for each photo of the listing that could be read, in order.

    `skipped`: index in the listing -> why it could not be.
    """

    pixels: np.ndarray
    skipped: dict[int, str]


def default_folder() -> Path:
    """catdog's folder in the user's cache folder (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "catdog"


def decode_all(
    listing: Listing,
    size: tuple[int, int],
    *,
    cache: str = "auto",
    threads: int = 1,
    strict: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Decoded:
    """Every photo of `listing` squashed to `size` (height, width), from the cache if it is there.

    cache: a folder, "auto" (the user's cache folder) or "none" (memory alone). `progress` wraps an iterator
    that gives the number of photos done at each turn. With `strict` the first unreadable photo raises its error.
    """
    shape = (len(listing), 3, *size)
    folder = None if cache == "none" else (default_folder() if cache == "auto" else Path(cache)) / "pixels"
    if folder is not None:
        entry = folder / _key(listing, size)
        found = _read(entry, shape)
        if found is not None:
            if strict and found.skipped:
                raise ImageError(next(iter(found.skipped.values())))
            return found
        shutil.rmtree(entry, ignore_errors=True)  # it may be there, but damaged
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        except OSError as error:
            if cache != "auto":
                raise CatdogError(f"cannot write the cache {folder}: {error.strerror}; give another --cache.") from None
            folder = None
    if folder is None:
        return _decode_into(np.empty(shape, np.uint8), listing, size, threads, strict, progress)
    try:
        stored = np.lib.format.open_memmap(temporary / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
        decoded = _decode_into(stored, listing, size, threads, strict, progress)
        stored.flush()
        entry_json = {"format": FORMAT, "root": str(listing.root), "skipped": decoded.skipped}
        (temporary / "entry.json").write_text(json.dumps(entry_json), encoding="utf-8")
        with contextlib.suppress(OSError):  # another run has just written the same entry
            temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return decoded


def _key(listing: Listing, size: tuple[int, int]) -> str:
    """A hash of everything that the pixels depend on."""
    made_from = hashlib.blake2b(digest_size=16)
    made_from.update(repr((FORMAT, PIL.__version__, RESIZE_FILTER, size, str(listing.root.resolve()))).encode())
    for index, name in enumerate(listing.paths):
        try:
            status = os.stat(listing.path(index))
            identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        except OSError:
            identity = (-1, 0, 0)
        made_from.update(repr((name, identity)).encode("utf-8", "surrogateescape"))
    return made_from.hexdigest()


def _read(entry: Path, shape: tuple[int, ...]) -> Decoded | None:
    """The entry, its pixels mapped from the file, or None where there is none or it is not whole."""
    try:
        about = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        pixels = np.load(entry / "pixels.npy", mmap_mode="c")
        if about["format"] != FORMAT or pixels.shape != shape or pixels.dtype != np.uint8:
            return None
        skipped = {int(index): str(reason) for index, reason in about["skipped"].items()}
        return Decoded(pixels[: len(pixels) - len(skipped)], skipped)
    except (OSError, ValueError, KeyError, AttributeError, EOFError):
        return None


def _decode_into(
    pixels: np.ndarray,
    listing: Listing,
    size: tuple[int, int],
    threads: int,
    strict: bool,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> Decoded:
    """Decode every photo into its row of `pixels`; then close the gaps that unreadable ones have left."""
    skipped: dict[int, str] = {}

    def decode_some(start: int) -> int:
        stop = min(start + _CHUNK, len(listing))
        for index in range(start, stop):
            try:
                pixels[index] = decode(listing.path(index), size).transpose(2, 0, 1)
            except ImageError as error:
                if strict:
                    raise
                skipped[index] = str(error)
        return stop - start

    pool = ThreadPoolExecutor(max(1, threads))
    try:
        for _ in progress(pool.map(decode_some, range(0, len(listing), _CHUNK))):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    filled = 0
    for index in range(len(listing)) if skipped else ():
        if index not in skipped:
            pixels[filled] = pixels[index]
            filled += 1
    return Decoded(pixels[: len(listing) - len(skipped)], dict(sorted(skipped.items())))
