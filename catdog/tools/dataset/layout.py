"""Checks the names and folders of a data set for `catdog data check`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catdog.base.text import many
from catdog.checkpoint.class_names import refused_names
from catdog.data.listing import Listing, files_below, folders_and_files, is_photo_name
from catdog.data.mistakes import require_number_of_classes, require_train, unused_folders
from catdog.data.names import look_alike, no_photos, quoted, rename_to_known
from catdog.data.remarks import ALIKE
from catdog.errors import CatdogError, ImageError
from catdog.images.decoder import decode

_LARGEST_UNNAMED = 16 * 2**20  # bytes: larger files without a photo's suffix are not tried as photos


@dataclass(frozen=True)
class Finding:
    """Problem to correct (`mend` true) or fact worth knowing, in one sentence, with the files it is about.

    items: {"path"} of a file or folder, relative to the photos' folder, with "reason" if it cannot be read; or, for
    copies of a photo, {"paths", "mirrored", "same_bytes"}.
    """

    kind: str
    mend: bool
    message: str
    items: Sequence[Mapping[str, Any]] = field(default=())


def check_layout(root: Path, splits: dict[str, Listing]) -> Iterator[Finding]:
    """Find folders with which `train` would fail, and files that it would leave out without a message."""
    yield from _check_classes(root, splits)
    if splits.keys() == {""}:
        folders = {""}
    else:
        folders = {listing.root.name for listing in splits.values()}
        unused = list(unused_folders(root, {split: listing.root for split, listing in splits.items()}))
        if unused and "train" in splits:  # else `_check_classes` names them
            train = splits["train"].root.name
            yield Finding(
                "unused_folders",
                True,
                f"{many(len(unused), 'folder')} beside {'/, '.join(sorted(folders))}/ will not be used; "
                f"move the photos into {train}/<class>/, or the folder elsewhere.",
                _paths(unused),
            )
    loose = [os.path.join(folder, name) for folder in {"", *folders} for name in folders_and_files(root / folder)[1]]
    outside = sorted(path for path in loose if is_photo_name(path))
    if outside:
        yield Finding(
            "outside_classes",
            True,
            f"{many(len(outside), 'photo')} outside any class folder will not be used; move each into its class.",
            _paths(outside),
        )
    others = [path for path in loose if not is_photo_name(path)]
    for listing in splits.values():
        for name in listing.classes:
            below = os.path.relpath(listing.root / name, root)
            others += [os.path.join(below, path) for path in files_below(root / below) if not is_photo_name(path)]
    yield from _check_others(root, sorted(others))


def _check_classes(root: Path, splits: dict[str, Listing]) -> Iterator[Finding]:
    if "" not in splits and "train" not in splits:
        try:
            require_train(root, {split: listing.root for split, listing in splits.items()})
        except CatdogError as error:
            yield Finding("no_train", True, str(error))
        return
    first = splits.get("train") or splits[""]
    if len(first.classes) < 2:
        try:
            require_number_of_classes(first)
        except CatdogError as error:
            yield Finding("too_few_classes", True, str(error))
    empty, single = [], []
    for listing in splits.values():
        for name, count in zip(listing.classes, listing.counts(), strict=True):
            path = os.path.relpath(listing.root / name, root)
            if count == 0:
                empty.append(path)
            if count == 1 and listing is first and "val" not in splits:
                single.append(path)
        if listing is first:
            continue
        here = listing.root.name
        unknown = [os.path.join(here, name) for name in listing.classes if name not in first.classes]
        if unknown:
            renames = {rename_to_known(listing.root / Path(path).name, first.classes) for path in unknown}
            mend = renames.pop() if len(unknown) == 1 else "rename or remove these folders"
            message = f"{here}/ holds classes that {first.root.name}/ does not; {mend}."
            yield Finding("unknown_classes", True, message, _paths(unknown))
        lacking = [os.path.join(here, name) for name in first.classes if name not in listing.classes]
        if lacking:
            message = f"{here}/ lacks classes that {first.root.name}/ holds; add a folder of photos for each."
            yield Finding("missing_classes", True, message, _paths(lacking))
    for group in look_alike(dict.fromkeys(name for listing in splits.values() for name in listing.classes)):
        yield Finding("classes_alike", True, f"{' and '.join(map(quoted, group))} {ALIKE}")
    for refused in refused_names(first.classes):
        yield Finding("class_names", True, refused)
    if empty:
        message = f"{many(len(empty), 'class folder')} without photos; add some, or remove it."
        yield Finding("empty_classes", True, message, _paths(empty))
    if single:
        message = "a class folder with a single photo; it takes one to train on and one to validate on."
        yield Finding("single_photo_classes", True, message, _paths(single))


def _check_others(root: Path, others: list[str]) -> Iterator[Finding]:
    """Report files left out because of their names: photos, by their content, and others."""
    pictures = {path for path in others if _is_picture(root / path)}
    if pictures:
        yield Finding(
            "photos_by_other_names",
            True,
            f"{many(len(pictures), 'photo')} left out because of the name; let it end in .jpg, .png or the like.",
            _paths(sorted(pictures)),
        )
    rest = [path for path in others if path not in pictures]
    if rest:
        yield Finding("other_files", False, f"{no_photos(len(rest))}.", _paths(rest))


def _is_picture(path: Path) -> bool:
    try:
        if path.stat().st_size > _LARGEST_UNNAMED:
            return False
        decode(path, (1, 1))
    except (OSError, ImageError):
        return False
    return True


def _paths(paths: Sequence[str]) -> list[dict[str, str]]:
    return [{"path": path} for path in paths]
