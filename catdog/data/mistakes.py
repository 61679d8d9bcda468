"""Folders of photos that are laid out in no way that training knows: what is wrong, and the mend, in a sentence."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from catdog.base.text import on_one_line
from catdog.data.listing import Listing, folders_and_files, is_photo_name, subfolders
from catdog.errors import CatdogError


def require_no_splits(root: Path, flat: Mapping[str, str]) -> None:
    """Raise CatdogError where folders without class folders, `flat`, have the names of several splits."""
    if "train" in flat and len(flat) > 1:
        raise CatdogError(
            f"{root} holds {' and '.join(f'{name}/' for name in flat.values())}, which are named like splits but hold "
            f"no class folders; put the photos of each class into one folder, such as {root / flat['train'] / 'cat'}."
        )


def require_no_classes_within(root: Path) -> None:
    """Raise CatdogError where all folders of `root` hold but folders of the same names: those are the classes."""
    names = subfolders(root)
    inner = folders_alone(root / names[0]) if len(names) > 1 else []
    if len(inner) > 1 and all(folders_alone(root / name) == inner for name in names[1:]):
        raise CatdogError(
            f"the folders of {root} ({_some(names)}) all hold the same folders ({_some(inner)}), which look like the "
            f"classes; give one of them, such as {root / names[0]}, or call them train and val; if they are the "
            "classes themselves, give the folders within each of them other names."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(on_one_line, names[:3])) + (", ..." if len(names) > 3 else "")


def require_classes(listing: Listing) -> None:
    """Raise CatdogError for fewer than two classes, or one without photos."""
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


def folders_alone(folder: Path) -> list[str]:
    """Names of the folders directly in `folder`; none where a photo lies beside them."""
    folders, files = folders_and_files(folder)
    return [] if any(map(is_photo_name, files)) else folders
