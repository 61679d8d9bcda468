"""Photos: which files there are, their pixels, and batches of them.

listing, splits     which photo files there are, of which class, to train on or to validate on
photo_dataset, load PhotoDataset, the photos that training iterates; opening it
batches, prefetch   which photos each batch holds; the batches themselves, through torch's DataLoader
pixel_cache         decoded pixels, kept between runs in the cache_folder; cache_dir bounds and clears what is kept
decode_pool         decoding in parallel; decode_process is one of its processes
warm_up             drawing and decoding while torch is imported
mistakes, remarks   layouts that cannot be trained on; what of a folder is left out, or looks like a mistake
names               names of classes that look alike, or mean the same
held_out            which photos to evaluate on; named_folder opens a folder for a program of one's own
statistics          means and deviations of colours
duplicates          the same file in two places
shard_order         orders in which packed sets are decoded and shuffled
remote              mirrors of packed sets in object stores
drawn, inputs       the drawn cats and dogs; what the command line names as photos
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.data.listing import Listing, list_photos
    from catdog.data.load import load_photos, open_folders
    from catdog.data.photo_dataset import PhotoDataset
    from catdog.data.prefetch import load_batches
    from catdog.data.splits import train_and_val

__all__ = ["Listing", "PhotoDataset", "list_photos", "load_batches", "load_photos", "open_folders", "train_and_val"]
__getattr__ = offer(
    __name__,
    {
        "PhotoDataset": "photo_dataset",
        "Listing": "listing",
        "list_photos": "listing",
        "load_photos": "load",
        "open_folders": "load",
        "load_batches": "prefetch",
        "train_and_val": "splits",
    },
)
