"""Opens a packed set in an object store or on a web server: makes the mirror of it in the cache folder."""

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from catdog.base.text import many
from catdog.config.settings import Photos
from catdog.data.cache_dir import GIGABYTE, STORES
from catdog.data.cache_folder import folder_of
from catdog.data.decode_pool import PHOTOS_IN_A_TASK
from catdog.data.listing import Listing, is_address
from catdog.images.packed import FORMAT
from catdog.images.packed_files import SET_FILE, STORE_FILE
from catdog.images.packed_paths import begin_reading, find_folder
from catdog.images.store import BLOCK, Store, make_mirror

if TYPE_CHECKING:
    from torch import Tensor

_AHEAD = 4  # batches whose photos are on their way while one is decoded


def is_mirror(folder: Path) -> bool:
    """Whether `folder` is the mirror of an address, or a split of one."""
    return any((one / STORE_FILE).exists() and (one / SET_FILE).exists() for one in (folder, folder.parent))


def local_folder(name: str, cache: str = Photos.cache, limit: float = Photos.cache_limit) -> Path:
    """The folder that `name` means: a path, or the mirror of an address, whose shards take `limit` gigabytes at most.

    Raises CatdogError where the address cannot be read, or holds no packed set.
    """
    return _mirror(name.rstrip("/"), folder_of(cache), limit) if is_address(name) else Path(name)


@lru_cache
def _mirror(url: str, cache: Path, limit: float) -> Path:
    """The mirror of `url`, with its shards.json as it is there now: read once by each process."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", url)[-60:].strip("-.")
    folder = cache / STORES / f"{words}-{hashlib.blake2b(url.encode(), digest_size=4).hexdigest()}"
    make_mirror(folder, url, limit * GIGABYTE)
    Store(folder).bring_file(SET_FILE, _fault)
    return folder


def _fault(data: bytes) -> str:
    """What is wrong with a shards.json."""
    try:
        if json.loads(data)["format"] == FORMAT:
            return ""
    except (ValueError, TypeError, KeyError):
        pass
    return f"it is no {SET_FILE} of catdog data pack"


def shards_of(listing: Listing) -> np.ndarray | None:
    """int, N: the number of the shard of each photo, where the listing is of a store; else None."""
    packed = find_folder(listing.root) if is_mirror(listing.root) else None
    return None if packed is None else packed.shards(listing.paths)


def what_is_read(listings: Sequence[Listing], kept: bool) -> str:
    """What a training on photos of a store will read of it. kept: --cache is not none."""
    folders = {listing.root: find_folder(listing.root) for listing in listings}
    sizes = [size for folder in folders.values() if folder is not None for size in folder.shard_sizes()]
    total, photos = sum(sizes), sum(map(len, listings))
    requests = many(photos // PHOTOS_IN_A_TASK + len(sizes) if kept else total // BLOCK + len(sizes), "request")
    when = "once" if kept else "in each epoch, but for what --cache-limit keeps"
    return (
        f"{total / 1e6:,.0f} MB in {many(len(sizes), 'shard')}, read {when}: about {requests}, "
        f"{total / 1e8:,.0f} s at 100 MB a second"
    )


def read_ahead(listing: Listing, batches: "Sequence[Tensor]") -> "Sequence[Tensor] | Iterator[Tensor]":
    """The same batches, row numbers of photos: those of a store are on their way some batches before they are used."""
    return _begun(listing, batches) if is_mirror(listing.root) else batches


def _begun(listing: Listing, batches: "Sequence[Tensor]") -> "Iterator[Tensor]":
    coming: deque[tuple[Tensor, list[Future[None]]]] = deque()
    for rows in batches:
        coming.append((rows, begin_reading([listing.path(row) for row in rows.tolist()], blocks=True)))
        if len(coming) > _AHEAD:
            yield _arrived(*coming.popleft())
    for one in coming:
        yield _arrived(*one)


def _arrived(rows: "Tensor", photos: "Sequence[Future[None]]") -> "Tensor":
    for some in photos:
        some.result()
    return rows
