"""Which photos of a folder a network is evaluated on."""

from pathlib import Path

from catdog.config.settings import Config
from catdog.data.listing import Listing, is_address, list_photos
from catdog.data.remote import is_mirror
from catdog.data.splits import find_splits, photo_folder, train_and_val


def held_out_photos(folder: Path, config: Config | None) -> Listing:
    """The photos in `folder` to evaluate on: val/, else test/; of the folder that `config` trained on, the share that
    was set aside, or, with folds, all; of any other folder, all."""
    splits = find_splits(folder)
    for split in ("val", "test"):
        if split in splits:
            return list_photos(splits[split])
    root = splits.get("train", folder)
    is_own = (
        config is not None and _is_near(folder, config) and photo_folder(config.photos).resolve() == folder.resolve()
    )
    if config is not None and is_own and not is_all_learned(root, config):
        return train_and_val(folder, config.photos.val_share, config.run.seed)[1]
    return list_photos(root)


def is_all_learned(root: Path, config: Config) -> bool:
    """Whether the network of `config` learned from all photos in `root`: others, of folds, were asked about them."""
    if config.photos.folds < 2 or not _is_near(root, config):
        return False
    folder = photo_folder(config.photos)
    return root.resolve() == find_splits(folder).get("train", folder).resolve()


def _is_near(folder: Path, config: Config) -> bool:
    """Whether `folder` may be one of `config`'s: a store that it trained on is not asked for the sake of another."""
    return is_address(config.photos.data) == is_mirror(folder)
