"""Which folder of photos a configuration means, and which of its photos were kept from training."""

from pathlib import Path

from catdog.base.locks import remove_abandoned
from catdog.cache_folder import DRAWN, folder_of
from catdog.config.settings import Config, Photos
from catdog.files import Listing, find_splits, list_photos, train_and_val

SAMPLE = "sample"  # as the folder of photos: the drawn set


def photo_folder(photos: Photos) -> Path:
    """The folder that `photos.data` names; the drawn set is drawn, into the cache folder, if it is not there yet."""
    if photos.data != SAMPLE:
        return Path(photos.data)
    from catdog import sample

    base = folder_of(photos.cache)
    height, width = sample.DEFAULT_SIZE
    # As many as make a gibibyte of pixels: at 800 x 600 that is 745 drawings, not 6,000.
    count = min(sample.DEFAULT_COUNT, max(200, 2**30 // (3 * photos.image_size[0] * photos.image_size[1])))
    folder = base / f"{DRAWN}{sample.VERSION}-{count}-{height}x{width}"
    if not folder.is_dir():
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
