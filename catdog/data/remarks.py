"""What a person should know of a folder of photos before a network is trained or measured on it: a line for each."""

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

from catdog.base.text import in_shell, many, on_one_line
from catdog.data.listing import Listing, folders_and_files, is_photo_name
from catdog.data.mistakes import unused_folders
from catdog.data.names import left_out_in_words, look_alike, quoted
from catdog.data.splits import find_splits

ALIKE = "look alike, and are taken for different classes; rename one, or put all in one."
_NAMED = 5  # folders, at most, that a line names


def remarks(root: Path, *listings: Listing) -> Iterator[str]:
    """Warnings about the folder `root`, of which `listings` are used: other photos, and names that look alike."""
    splits = find_splits(root)
    if len(listings) > 1 and "test" in splits:
        note = "" if "val" in splits else "; a share of the photos to train on is kept for validation"
        yield f"note: {splits['test'].name}/ is not looked at in training{note}."
    beside = unused_folders(root, splits)
    if beside:
        yield (
            f"warning: {many(sum(beside.values()), 'photo')} in {_named(beside)} beside "
            f"{'/, '.join(path.name for path in splits.values())}/ are not used; move them into "
            f"{splits['train'].name if 'train' in splits else 'train'}/<class>/, or elsewhere."
        )
    used = {listing.root: listing for listing in listings}
    loose = [name for folder in {root, *used} for name in folders_and_files(folder)[1] if is_photo_name(name)]
    if loose:
        yield (
            f"warning: {many(len(loose), 'photo')} outside any class folder, such as {on_one_line(loose[0])}, will not "
            "be used; move each into its class."
        )
    left_out = Counter[str]()
    for listing in used.values():
        left_out.update(listing.left_out)
    if left_out:
        yield f"warning: {left_out_in_words(left_out)}; catdog data check {in_shell(root)} lists them."
    for group in look_alike(dict.fromkeys(chain.from_iterable(listing.classes for listing in listings))):
        yield f"warning: the classes {' and '.join(map(quoted, group))} {ALIKE}"


def _named(names: Collection[str]) -> str:
    shown = [f"{on_one_line(name)}/" for name in list(names)[:_NAMED]]
    return ", ".join(shown) + (f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else "")
