"""Which photos of a folder a network is evaluated on."""

from pathlib import Path

from catdog.config.settings import Config
from catdog.data.listing import Listing, list_photos
from catdog.data.splits import find_splits, photo_folder, train_and_val


def held_out_photos(folder: Path, config: Config | None) -> Listing:
    """The photos in `folder` to evaluate on: val/, else test/; of the folder that `config` trained on, the share that
    was set aside, or, with folds, all; of any other folder, all."""
    splits = find_splits(folder)
    for split in ("val", "test"):
        if split in splits:
            return list_photos(splits[split])
    own = config is not None and photo_folder(config.photos).resolve() == folder.resolve()
    if config is not None and own and config.photos.folds <= 1:
        return train_and_val(folder, config.photos.val_share, config.run.seed)[1]
    return list_photos(splits.get("train", folder))
