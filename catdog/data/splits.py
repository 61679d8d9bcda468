"""Which folder of photos a configuration means, and which of its photos were kept from training."""

import hashlib
import os
from pathlib import Path

from catdog.config.settings import Config, Photos
from catdog.data.cache_dir import DRAWN, folder_of
from catdog.data.listing import Listing, list_photos, require_folder, subfolders
from catdog.errors import CatdogError

SAMPLE = "sample"  # as the folder of photos: the drawn set


def photo_folder(photos: Photos) -> Path:
    """The folder that `photos.data` names; the drawn set is drawn, into the cache folder, if it is not there yet."""
    if photos.data != SAMPLE:
        return Path(photos.data)
    from catdog.data import drawn as sample

    base = folder_of(photos.cache)
    height, width = sample.DEFAULT_SIZE
    # As many as make a gibibyte of pixels: at 800 x 600 that is 745 drawings, not 6,000.
    count = min(sample.DEFAULT_COUNT, max(200, 2**30 // (3 * photos.image_size[0] * photos.image_size[1])))
    folder = base / f"{DRAWN}{sample.VERSION}-{count}-{height}x{width}"
    if not os.path.isdir(folder):
        from catdog.base.work_folder import remove_abandoned

        remove_abandoned(folder.parent, sample.UNFINISHED)
        sample.write_sample(folder, count, sample.DEFAULT_SIZE)
    return folder


def held_out_photos(folder: Path, config: Config | None) -> Listing:
    """The photos in `folder` to evaluate on: val/, else test/; of the folder that `config` trained on, the share that
    was set aside; of any other folder, all."""
    splits = find_splits(folder)
    for split in ("val", "test"):
        if split in splits:
            return list_photos(splits[split])
    if config is not None and photo_folder(config.photos).resolve() == folder.resolve():
        return train_and_val(folder, config.photos.val_share, config.run.seed)[1]
    return list_photos(splits.get("train", folder))


SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def find_splits(root: str | Path) -> dict[str, Path]:
    """The split folders of `root`, by "train", "val" and "test"; empty where `root` is a single ImageFolder."""
    root = Path(root)
    require_folder(root)
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        for name in names:
            # A class may be called "test": a split is a folder of class folders.
            if (root / name).is_dir() and subfolders(root / name):
                if split in found:
                    raise CatdogError(f"{root} holds both {found[split].name}/ and {name}/; keep one of them.")
                found[split] = root / name
    return found


def train_and_val(root: str | Path, val_share: float, seed: int) -> tuple[Listing, Listing]:
    """The photos to train on and to validate on, both with the classes of the first.

    Where there is no val/ folder, a share of the training photos is set aside, in each class alike.
    Raises CatdogError for fewer than two classes, an empty class, or nothing to validate on.
    """
    root = Path(root)
    splits = find_splits(root)
    if splits and "train" not in splits:
        raise CatdogError(
            f"{root} has {'/, '.join(splits)}/ but no train/; put the photos to train on in {root}/train/<class>/."
        )
    listing = list_photos(splits.get("train", root))
    _require_classes(listing)
    if "val" not in splits:
        return split(listing, val_share, seed)
    val = list_photos(splits["val"])
    if not len(val):
        raise CatdogError(
            f"{val.root} holds no photos to validate on; add some, or remove it to set some of train/ aside."
        )
    return listing, val.with_classes(listing.classes, whose=str(listing.root))


def _require_classes(listing: Listing) -> None:
    counts = dict(zip(listing.classes, listing.counts(), strict=True))
    for name, count in counts.items():
        if count == 0:
            raise CatdogError(
                f"the class folder {listing.root / name} holds no photos; add some, or remove the folder."
            )
    if len(counts) == 0:
        raise CatdogError(
            f"{listing.root} holds no class folders; make one folder of photos for each class, such as "
            f"{listing.root / 'cat'} and {listing.root / 'dog'}."
        )
    if len(counts) == 1:
        raise CatdogError(
            f"{listing.root} holds one class only, {listing.classes[0]!r}; "
            "a classifier needs at least two class folders."
        )


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


def _position(path: str, seed: int) -> float:
    """A number in [0, 1) that looks random, from the seed and the path below the class folder."""
    name = path.split(os.sep, 1)[1].replace(os.sep, "/")
    digest = hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
