"""Folders of photos that are laid out in no way that training knows: what is wrong, and the mend, in a sentence."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from catdog.base.text import in_shell, on_one_line
from catdog.data.listing import Listing, entries_in, folders_and_files, is_photo_name, photos_below, subfolders
from catdog.data.names import left_out_in_words
from catdog.errors import CatdogError

if TYPE_CHECKING:
    from catdog.data.photo_dataset import PhotoDataset


def require_no_splits(root: Path, flat: Mapping[str, str], splits: Mapping[str, str]) -> None:
    """Raise CatdogError where folders are named like several splits: `flat`, without class folders, or seg_train.

    splits: the names that each goes by, a pattern.
    """
    if "train" in flat and len(flat) > 1:
        raise CatdogError(
            f"{root} holds {' and '.join(f'{name}/' for name in flat.values())}, which are named like splits but hold "
            f"no class folders; put the photos of each class into one folder, such as {root / flat['train'] / 'cat'}."
        )

    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in subfolders(root):
        before, split, after = _around_split(name, splits)
        if split:
            groups.setdefault((before, after), {})[split] = name
    for group in groups.values():
        if "train" in group and len(group) > 1:
            names = " and ".join(f"{on_one_line(name)}/" for name in group.values())
            raise CatdogError(
                f"{root} holds {names}, which are named like splits; call them train, val and test, with a folder of "
                "photos for each class in each of them."
            )


def _around_split(name: str, splits: Mapping[str, str]) -> tuple[str, str, str]:
    """What stands before the word in `name` that a split goes by, the split, and what stands after it: seg_train."""
    for split, words in splits.items():
        if found := re.fullmatch(rf"(.*?)(?<![^\W_\d])({words})(?![^\W_\d])(.*)", name.casefold(), re.DOTALL):
            return found[1], split, found[3]
    return name.casefold(), "", ""


def require_no_classes_within(root: Path) -> None:
    """Raise CatdogError where all folders of `root` hold folders alone, of the same names: those are the classes.

    All need not hold the same: two names shared with the one that holds most of them, or no others, are enough.
    """
    names = subfolders(root)
    inner = [folders_alone(root / name) for name in names]
    most = set(sorted(inner, key=len)[-1]) if inner else set[str]()
    alike = all(one and (len(most & set(one)) > 1 or most >= set(one)) for one in inner)
    if len(names) > 1 and len(most) > 1 and alike:
        same = all(one == inner[0] for one in inner)
        hold = "all hold the same folders" if same else "hold folders of the same names"
        raise CatdogError(
            f"the folders of {root} ({_some(names)}) {hold} ({_some(sorted(most))}), which look like the "
            f"classes; give one of them, such as {root / names[0]}, or call them train and val; if they are the "
            "classes themselves, give the folders within each of them other names."
        )


def require_train(root: Path, splits: Mapping[str, Path]) -> None:
    """Raise CatdogError for split folders without one to train on; folders beside them are named."""
    if splits and "train" not in splits:
        names = "/, ".join(path.name for path in splits.values())
        beside = list(unused_folders(root, splits))
        what = f"move {_some(beside)} into {root / 'train'}" if beside else ""
        mend = what or f"put the photos to train on in {root / 'train'}/<class>/"
        raise CatdogError(f"{root} has {names}/ but no train/; {mend}.")


def require_few_unreadable(folders: "Sequence[PhotoDataset]", max_skipped: float) -> None:
    """Raise CatdogError if more than the share `max_skipped` of the photos of one root cannot be read."""
    for root in dict.fromkeys(folder.listing.root for folder in folders):
        mine = [folder for folder in folders if folder.listing.root == root]
        skipped = [one for folder in mine for one in folder.skipped]
        count = len(skipped) + sum(map(len, mine))
        if len(skipped) > max_skipped * count:
            raise CatdogError(
                f"{len(skipped)} of the {count} photos in {root} cannot be read, more than --max-skipped "
                f"{max_skipped:g} allows; the first: {skipped[0].reason}"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(on_one_line, names[:3])) + (", ..." if len(names) > 3 else "")


def require_classes(listing: Listing) -> None:
    """Raise CatdogError for fewer than two classes, or one without photos."""
    counts = dict(zip(listing.classes, listing.counts(), strict=True))
    for name, count in counts.items():
        if count == 0:
            left_out = Counter[str]()
            list(photos_below(listing.root / name, left_out))
            check = f"{left_out_in_words(left_out)}, see catdog data check {in_shell(listing.root)}"
            raise CatdogError(
                f"the class folder {listing.root / name} holds no photos{f' ({check})' if left_out else ''}; add some, "
                "or remove the folder."
            )
    require_number_of_classes(listing)


def require_number_of_classes(listing: Listing) -> None:
    """Raise CatdogError for fewer than two classes."""
    if len(listing.classes) == 0:
        if any(name.endswith(".tar") for name in folders_and_files(listing.root)[1]):
            raise CatdogError(
                f"{listing.root} holds shards but no shards.json: packing did not come to its end, or not all was "
                "copied; run the same catdog data pack again, or copy the rest."
            )
        raise CatdogError(
            f"{listing.root} holds no class folders; make one folder of photos for each class, such as "
            f"{listing.root / 'cat'} and {listing.root / 'dog'}."
        )
    if len(listing.classes) == 1:
        (name,) = listing.classes
        inner = folders_alone(listing.root / name)
        mend = f"if {_some(inner)} are the classes, give {listing.root / name}" if len(inner) > 1 else ""
        raise CatdogError(
            f"{listing.root} holds one class only, {name!r}; {mend or 'a classifier needs at least two class folders'}."
        )


def folders_alone(folder: Path) -> list[str]:
    """Names of the folders directly in `folder`; none where a photo lies beside them."""
    found = []
    for name, is_folder in entries_in(folder):
        if is_folder:
            found.append(name)
        elif is_photo_name(name):  # nearly always at once: a folder of photos is not read to its end
            return []
    return sorted(found)


def unused_folders(root: Path, splits: Mapping[str, Path]) -> dict[str, int]:
    """Photos in each folder that lies beside the split folders, and is none of them."""
    names = {path.name for path in splits.values()}
    beside = [name for name in folders_and_files(root)[0] if name not in names] if splits else []
    counts = {name: sum(1 for _ in photos_below(root / name)) for name in beside}
    return {name: count for name, count in counts.items() if count}
