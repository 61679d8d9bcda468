"""Opens folders of photos for training: decoded through the cache, or to be decoded batch by batch."""

import math
from collections.abc import Callable, Sequence

import torch

from catdog.architecture import Resize
from catdog.base.progress import bar
from catdog.config.settings import Photos
from catdog.data.decode_pool import DecodePool
from catdog.data.listing import Listing, Skipped
from catdog.data.photo_dataset import PhotoDataset
from catdog.errors import CatdogError


def load_photos(
    listing: Listing,
    size: tuple[int, int],
    resize: Resize = "squash",
    *,
    cache_folder: str = "auto",
    cache_limit: float = math.inf,
    threads: int = 1,
    strict: bool = False,
    max_skipped: float = 1.0,
    progress: Callable[[int], object] = lambda count: None,
    pool: DecodePool | None = None,
) -> PhotoDataset:
    """Decode all photos of `listing` to `size`, or take them from the cache; those that cannot be read are left out.

    Arguments as `catdog.data.pixel_cache.decode_all`'s.
    Raises CatdogError if more than the share `max_skipped` of the photos cannot be read.
    """
    from catdog.data import mistakes, pixel_cache  # which photos that are decoded in each epoch do without

    decoded = pixel_cache.decode_all(
        listing,
        size,
        resize,
        cache=cache_folder,
        limit=cache_limit,
        threads=threads,
        strict=strict,
        progress=progress,
        pool=pool,
    )
    skipped = [Skipped(listing.path(index), reason) for index, reason in decoded.skipped.items()]
    if skipped:
        listing = listing.select([index not in decoded.skipped for index in range(len(listing))])
    folder = PhotoDataset(listing, size, resize, pixels=torch.from_numpy(decoded.pixels), skipped=skipped)
    mistakes.require_few_unreadable([folder], max_skipped)
    return folder


def open_folders(listings: Sequence[Listing], photos: Photos, threads: int) -> tuple[PhotoDataset, PhotoDataset]:
    """The photos to train on and to validate on, as `photos` asks for them: decoded, or to be decoded batch by batch.

    Raises CatdogError where too many photos, all of a class, or all to validate on cannot be read.
    """
    from catdog.data import mistakes

    (size, how), names = (photos.image_size, photos.resize), ("training", "validation")
    pool = DecodePool(size, threads, len(listings[0]), how)  # one set of processes for both
    if photos.cache == "none":
        most = 0.0 if photos.strict else photos.max_skipped
        of = sum(map(len, listings)) if listings[0].root == listings[1].root else None
        train, val = (PhotoDataset(one, size, how, pool=pool, max_skipped=most, out_of=of) for one in listings)
    else:
        with pool:
            train, val = (_load(listing, photos, name, pool) for listing, name in zip(listings, names, strict=True))
        mistakes.require_few_unreadable((train, val), photos.max_skipped)
    counts = torch.bincount(train.labels, minlength=len(train.classes)).tolist()
    for name, count in zip(train.classes, counts, strict=True):
        if count == 0:
            raise CatdogError(f"no photo of the class {name!r} can be read; the first: {train.skipped[0].reason}")
    if not len(val):
        raise CatdogError(f"none of the photos to validate on can be read; the first: {val.skipped[0].reason}")
    return train, val


def _load(listing: Listing, photos: Photos, name: str, pool: DecodePool) -> PhotoDataset:
    """`load_photos` as `photos` says, with a progress bar."""
    with bar(f"decoding {name} photos", len(listing)) as progress:
        return load_photos(
            listing,
            photos.image_size,
            photos.resize,
            cache_folder=photos.cache,
            cache_limit=photos.cache_limit,
            strict=photos.strict,
            progress=progress.update,
            pool=pool,
        )
