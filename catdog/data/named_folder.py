"""Opens a folder that a program names: checks that it holds classes, leaves broken photos out."""

from collections.abc import Sequence
from pathlib import Path

from catdog.data.decode_pool import DecodePool
from catdog.data.listing import Listing, Skipped, list_photos
from catdog.data.splits import find_splits
from catdog.errors import CatdogError

_SMALL = (8, 8)  # pixels: a large JPEG is decoded at an eighth then


def open_named(photos: str | Path | Listing, on_error: str) -> tuple[Listing, Sequence[Skipped]]:
    """The photos to be used and, where `on_error` is "skip", those that cannot be read, with the reason.

    Raises CatdogError for a folder of splits, and where no photo can be read.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip", not {on_error!r}')
    listing = photos if isinstance(photos, Listing) else _class_folders(photos)
    if on_error == "raise":
        return listing, ()
    reasons: dict[int, str] = {}
    with DecodePool(_SMALL, expected=len(listing)) as pool:
        for part in pool.decode_all(listing.files):
            reasons.update(part.reasons)
    if reasons and len(reasons) == len(listing):
        raise CatdogError(
            f"none of the {len(listing):,} photos in {listing.root} can be read; the first: {reasons[min(reasons)]}"
        )
    readable = listing.select([row not in reasons for row in range(len(listing))])
    return readable, [Skipped(listing.path(row), reason) for row, reason in reasons.items()]


def _class_folders(root: str | Path) -> Listing:
    if splits := find_splits(root):
        some = next(iter(splits.values()))
        raise CatdogError(
            f"{root} holds {'/, '.join(path.name for path in splits.values())}/; give {some} or the like."
        )
    return list_photos(root)
