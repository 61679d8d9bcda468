"""Which folder of photos a configuration means, and which of its photos were kept from training."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from catdog.base.class_names import are_too_long, why_refused
from catdog.base.text import on_one_line
from catdog.config.settings import Config, Photos
from catdog.data.cache_dir import DRAWN, folder_of
from catdog.data.listing import Listing, folders_alone, list_photos, require_folder, subfolders
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
    if not folder.is_dir():
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


SPLITS = {"train": "train|training|trn", "val": "val|valid|validation|dev", "test": "test|testing|tst|eval|evaluation"}
"""The names that folders of each split go by: in any case, and also as in `Training Set`, `val_images`, `test2017`."""


def _split_called(name: str) -> str | None:
    for split, names in SPLITS.items():
        if re.fullmatch(rf"({names})[ _-]?(set|data|images|photos)?[ _-]?\d*", name, re.IGNORECASE | re.ASCII):
            return split
    return None


def find_splits(root: str | Path) -> dict[str, Path]:
    """The split folders of `root`, by "train", "val" and "test"; empty where `root` is a single ImageFolder.

    Raises CatdogError where two folders go by the name of one split, or where folders that look like splits would be
    taken for classes.
    """
    root = Path(root)
    require_folder(root)
    found: dict[str, Path] = {}
    flat: dict[str, str] = {}
    for name in subfolders(root):
        split = _split_called(name)
        if split is None:
            continue
        if not subfolders(root / name):  # a class may be called "test": a split is a folder of class folders
            flat[split] = name
        elif split in found:
            raise CatdogError(
                f"{root} holds both {found[split].name}/ and {name}/, two names for one split; keep one of them."
            )
        else:
            found[split] = root / name
    if not found and "train" in flat and len(flat) > 1:
        raise CatdogError(
            f"{root} holds {' and '.join(f'{name}/' for name in flat.values())}, which are named like splits but hold no "
            f"class folders; put the photos of each class into one folder, such as {root / flat['train'] / 'cat'}."
        )
    _require_classes_first(found.get("train", root))
    return {split: found[split] for split in SPLITS if split in found}


def _require_classes_first(root: Path) -> None:
    """Raise CatdogError where all folders of `root` hold nothing but folders of the same names: those are the classes."""
    names = subfolders(root)
    inner = folders_alone(root / names[0]) if len(names) > 1 else []
    if len(inner) > 1 and all(folders_alone(root / name) == inner for name in names[1:]):
        raise CatdogError(
            f"the folders of {root} ({_some(names)}) all hold the same folders ({_some(inner)}), which look like the "
            f"classes; give one of them, such as {root / names[0]}, or call them train and val; if they are the classes, "
            "give the folders within each of them other names."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(on_one_line, names[:3])) + (", ..." if len(names) > 3 else "")


def class_folders(root: str | Path) -> Listing:
    """The ImageFolder at `root`. Raises CatdogError where that holds splits."""
    if splits := find_splits(root):
        some = next(iter(splits.values()))
        raise CatdogError(f"{root} holds {'/, '.join(path.name for path in splits.values())}/; give {some} or the like.")
    return list_photos(root)


def train_and_val(root: str | Path, val_share: float, seed: int) -> tuple[Listing, Listing]:
    """The photos to train on and to validate on, both with the classes of the first.

    Where there is no val/ folder, a share of the training photos is set aside, in each class alike.
    Raises CatdogError for fewer than two classes, an empty class, or nothing to validate on.
    """
    root = Path(root)
    splits = find_splits(root)
    if splits and "train" not in splits:
        raise CatdogError(
            f"{root} has {'/, '.join(path.name for path in splits.values())}/ but no train/; put the photos to train on in "
            f"{root}/train/<class>/."
        )
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


def require_classes(listing: Listing) -> None:
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
        (name,) = listing.classes
        inner = folders_alone(listing.root / name)
        mend = f"if {_some(inner)} are the classes, give {listing.root / name}" if len(inner) > 1 else ""
        raise CatdogError(
            f"{listing.root} holds one class only, {name!r}; {mend or 'a classifier needs at least two class folders'}."
        )
    for refused in filter(None, map(why_refused, listing.classes)):
        raise CatdogError(f"{listing.root}: {refused}; rename that folder.")
    if are_too_long(listing.classes):
        raise CatdogError(f"{listing.root}: the names of its {len(counts):,} classes are too long for a model file; shorten them.")


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
