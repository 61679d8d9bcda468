"""Decoded pixels, kept between runs: each photo is decoded once, not once an epoch.

An entry is a folder named by a hash of what it was made from (every photo's path, size and times, the picture size,
the decoder). It is written under a temporary name and renamed, so it is there whole or not at all, and it
may be deleted at any time.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import simplejpeg

from catdog.base.locks import new_folder, remove_abandoned
from catdog.data.cache_dir import ABOUT_FILE, PIXELS, folder_of, make_room, note_use
from catdog.data.decode_pool import Decoders
from catdog.data.listing import Listing
from catdog.errors import CatdogError, ImageError
from catdog.images.decoder import RESIZE_FILTER

FORMAT = 2  # of an entry, and of what the decoder makes of a photo: raise it when either changes
_UNFINISHED = ".writing-"
_CHUNK = 64  # photos decoded in a turn


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


def decode_all(
    listing: Listing,
    size: tuple[int, int],
    *,
    cache: str = "auto",
    limit: float = math.inf,
    threads: int = 1,
    strict: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    decoders: Decoders | None = None,
) -> Decoded:
    """Every photo of `listing` squashed to `size` (height, width), from the cache if it is there.

    cache: a folder, "auto" (the user's cache folder) or "none" (memory alone); what was used longest ago is removed
    from it to keep it under `limit` gigabytes. `progress` wraps an iterator that gives the number of photos done at
    each turn. With `strict` the first unreadable photo raises its error. `decoders`: to be used, and left open.
    """
    shape = (len(listing), 3, *size)
    folder = None if cache == "none" else folder_of(cache) / PIXELS
    if folder is not None:
        entry = folder / _key(listing, size)  # by what the photos are now: one that changes meanwhile is not in it
        found = _read(entry, shape)
        if found is not None:
            note_use(entry)
            if strict and found.skipped:
                raise ImageError(next(iter(found.skipped.values())))
            return found
    with contextlib.ExitStack() as stack:
        temporary, pixels = None, None
        if folder is not None:
            make_room(folder.parent, math.prod(shape), limit)
            try:
                temporary, pixels = stack.enter_context(_new_entry(folder, shape))
            except OSError as error:
                if cache != "auto":
                    raise CatdogError(
                        f"cannot write the cache {folder}: {error.strerror}; make room, or give another --cache."
                    ) from None
        if pixels is None:
            pixels = np.empty(shape, np.uint8)
        if decoders is None:
            decoders = stack.enter_context(contextlib.closing(Decoders(size, threads, len(listing))))
        decoded = _decode_into(pixels, listing, decoders, threads, strict, progress)
        if folder is not None and temporary is not None:
            _finish_entry(temporary, entry, listing, decoded)
        return decoded


@contextlib.contextmanager
def _new_entry(folder: Path, shape: tuple[int, ...]) -> Iterator[tuple[Path, np.ndarray]]:
    """A new folder in `folder`, gone at the end unless it was renamed, and in it a file to write pixels to.

    It has its room on the disk, so that a full one is noticed here.
    """
    remove_abandoned(folder, _UNFINISHED)
    with new_folder(folder, _UNFINISHED) as temporary:
        path = temporary / "pixels.npy"
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
        yield temporary, pixels


def _finish_entry(temporary: Path, entry: Path, listing: Listing, decoded: Decoded) -> None:
    """Make the folder `temporary` the cache's entry, unless another run has just written the same one."""
    assert isinstance(decoded.pixels, np.memmap)
    decoded.pixels.flush()
    about = {
        "format": FORMAT,
        "root": str(listing.root.resolve()),
        "photos": len(decoded.pixels),
        "size": decoded.pixels.shape[2:],
        "skipped": decoded.skipped,
    }
    with contextlib.suppress(OSError):
        (temporary / ABOUT_FILE).write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(entry, ignore_errors=True)  # it may be there, but damaged
        temporary.rename(entry)


def _key(listing: Listing, size: tuple[int, int]) -> str:
    """A hash of everything that the pixels depend on."""
    made_from = hashlib.blake2b(digest_size=16)
    made_from.update(
        repr(
            (FORMAT, PIL.__version__, simplejpeg.__version__, RESIZE_FILTER, size, str(listing.root.resolve()))
        ).encode()
    )
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
        about = json.loads((entry / ABOUT_FILE).read_text(encoding="utf-8"))
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
    decoders: Decoders,
    threads: int,
    strict: bool,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> Decoded:
    """Decode every photo into its row of `pixels`; then close the gaps that unreadable ones have left."""
    skipped: dict[int, str] = {}

    def decode_some(start: int) -> int:
        stop = min(start + _CHUNK, len(listing))
        reasons = decoders.decode([listing.path(index) for index in range(start, stop)], pixels[start:stop])
        if strict and reasons:
            raise ImageError(next(iter(reasons.values())))
        skipped.update({start + position: reason for position, reason in reasons.items()})
        return stop - start

    pool = ThreadPoolExecutor(max(1, threads))
    try:
        for _ in progress(pool.map(decode_some, range(0, len(listing), _CHUNK))):
            pass
    except BaseException:
        decoders.close()  # at an error or Ctrl-C nobody waits for more than a photo
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    filled = 0
    for index in range(len(listing)) if skipped else ():
        if index not in skipped:
            pixels[filled] = pixels[index]
            filled += 1
    return Decoded(pixels[: len(listing) - len(skipped)], dict(sorted(skipped.items())))
