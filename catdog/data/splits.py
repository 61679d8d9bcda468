"""Which folder of photos a configuration means, and which of its photos were kept from training."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from catdog.config.settings import Photos
from catdog.data.listing import Listing, is_address, list_photos, require_folder, subfolders
from catdog.errors import CatdogError

SAMPLE = "sample"  # as the folder of photos: the drawn set


def whole_place(data: str) -> str:
    """What `Photos.data` names, for whoever is in another folder: a whole path, an address, or the drawn set."""
    if is_address(data):
        return data.rstrip("/")
    return data if data == SAMPLE else os.path.abspath(data)


def photo_folder(photos: Photos) -> Path:
    """The folder that `photos.data` names: of an address its mirror, of the drawn set one that is drawn if need be."""
    if is_address(photos.data):
        from catdog.data.remote import local_folder

        return local_folder(photos.data, photos.cache, photos.cache_limit)
    if photos.data != SAMPLE:
        return Path(photos.data)
    from catdog.data.drawn import sample_folder

    return sample_folder(photos)


SPLITS = {"train": "train|training|trn", "val": "val|valid|validation|dev", "test": "test|testing|tst|eval|evaluation"}
"""The names that folders of each split go by: in any case, and also as in `Training Set`, `imgs_val`, `test2017`."""
WORDS = "set|data|dataset|images?|imgs?|photos|pics|pictures|folder|dir|split"


def _split_called(name: str) -> str | None:
    for split, names in SPLITS.items():
        if re.fullmatch(rf"(({WORDS})[ _-])?({names})[ _-]?({WORDS})?[ _-]?\d*", name, re.IGNORECASE | re.ASCII):
            return split
    return None


def find_splits(root: str | Path) -> dict[str, Path]:
    """The split folders of `root`, by "train", "val" and "test"; empty where `root` is a single ImageFolder.

    Raises CatdogError where two folders are named like one split, or splits would be taken for classes.
    """
    from catdog.data.mistakes import require_no_classes_within, require_no_splits

    root = Path(root)
    require_folder(root)
    found: dict[str, Path] = {}
    flat: dict[str, str] = {}
    for name in subfolders(root):
        if (split := _split_called(name)) is None:
            continue
        if not subfolders(root / name):  # a class may be called "test": a split is a folder of class folders
            flat[split] = name
        elif split in found:
            names = f"{found[split].name}/ and {name}/"
            raise CatdogError(f"{root} holds both {names}, two names for one split; keep one of them.")
        else:
            found[split] = root / name
    if "train" not in found:
        require_no_splits(root, flat, SPLITS)
    require_no_classes_within(found.get("train", root))
    return {split: found[split] for split in SPLITS if split in found}


def train_and_val(root: str | Path, val_share: float, seed: int) -> tuple[Listing, Listing]:
    """The photos to train on and to validate on, both with the classes of the first.

    Where there is no val/ folder, a share of the training photos is set aside, in each class alike.
    Raises CatdogError for fewer than two classes, an empty class, or nothing to validate on.
    """
    root = Path(root)
    splits = find_splits(root)
    from catdog.data.mistakes import require_classes, require_train

    require_train(root, splits)
    listing = list_photos(splits.get("train", root))
    require_classes(listing)
    if "val" not in splits:
        return split(listing, val_share, seed)
    val = list_photos(splits["val"])
    if not len(val):
        raise CatdogError(
            f"{val.root} holds no photos to validate on; add some, or remove it to set some of train/ aside."
        )
    return listing, val.with_classes(listing.classes, whose=str(listing.root))


def split(listing: Listing, val_share: float, seed: int) -> tuple[Listing, Listing]:
    """Set `val_share` of each class aside, by a hash of the seed and each photo's own path within its class.

    Each photo's place depends on nothing else, so adding or removing photos moves no other; the one exception is a
    class so small that none of its photos would be set aside, or all: then the nearest one is, or is not.
    """
    positions = [_position(path, seed) for path in listing.paths]
    in_val = [position < val_share for position in positions]
    members: list[list[int]] = [[] for _ in listing.classes]
    for i, label in enumerate(listing.labels):
        members[label].append(i)
    for name, mine in zip(listing.classes, members, strict=True):
        if len(mine) < 2:
            raise CatdogError(
                f"the class folder {listing.root / name} holds a single photo; "
                "it takes at least two, one to train on and one to validate on."
            )
        in_val[min(mine, key=positions.__getitem__)] = True
        in_val[max(mine, key=positions.__getitem__)] = False
    return listing.select([not chosen for chosen in in_val]), listing.select(in_val)


def folds(listing: Listing, count: int, seed: int, copies: Iterable[Sequence[int]] = ()) -> list[int]:
    """The fold, from 0, of each photo: each class is dealt out in turn, in the order of the hashes of `split`.

    copies: groups of the indices of photos that are to be in one fold, that of the group's first; no other photo moves.
    """
    order = sorted(range(len(listing)), key=lambda i: (listing.labels[i], _position(listing.paths[i], seed)))
    found = [0] * len(listing)
    for turn, i in enumerate(order):
        found[i] = turn % count
    for first, *others in copies:
        for i in others:
            found[i] = found[first]
    return found


def _position(path: str, seed: int) -> float:
    """A number in [0, 1) that looks random, from the seed and the path below the class folder."""
    name = path.split(os.sep, 1)[1].replace(os.sep, "/")
    digest = hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
