"""Lists and decodes every photo of a folder, in all its splits, on all cores: for `data check` and `data stats`."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from catdog.architecture import Resize
from catdog.base.progress import bar
from catdog.base.text import MANY
from catdog.data.decode_pool import DecodePool
from catdog.data.listing import Listing, list_photos
from catdog.data.names import told_apart
from catdog.data.splits import find_splits

T = TypeVar("T")


@dataclass(frozen=True)
class Photo:
    """Photo: its path relative to the folder, its split ("train", "val", "test"; "" without splits) and class."""

    path: str
    split: str
    label: str


@dataclass(frozen=True)
class Scan(Generic[T]):
    """Result of `scan_photos`: `results[i]` is of `photos[i]`; `unreadable` holds each other photo and the reason."""

    photos: list[Photo]
    results: list[T]
    unreadable: list[tuple[Photo, str]]


def list_splits(root: Path) -> dict[str, Listing]:
    """List the photos of each split, without opening any; under "" where `root` is a single ImageFolder."""
    return {split: list_photos(folder) for split, folder in (find_splits(root) or {"": root}).items()}


def list_all(splits: dict[str, Listing]) -> list[Photo]:
    """Concatenate the photos of all splits."""
    return [
        Photo(os.path.join(listing.root.name if split else "", path), split, listing.classes[label])
        for split, listing in splits.items()
        for path, label in zip(listing.paths, listing.labels, strict=True)
    ]


def scan_photos(
    root: Path,
    photos: Sequence[Photo],
    measure: Callable[[Photo, np.ndarray, tuple[int, int]], T],
    size: tuple[int, int],
    description: str,
    resize: Resize = "squash",
) -> Scan[T]:
    """Call `measure(photo, pixels, (height, width))` for each photo that can be read, in order.

    pixels: uint8, H x W x 3, brought to `size` (height, width) by `resize`; (height, width): of the photo itself.
    `description` is the label of the progress bar.
    """
    found = Scan[T]([], [], [])
    paths = [os.path.join(root, photo.path) for photo in photos]
    with (
        DecodePool(size, expected=len(photos), resize=resize) as pool,
        bar(description, len(photos)) as progress,
    ):
        for part in pool.decode_all(paths):
            for row, pixels, its_size in zip(part.rows, part.pixels, part.sizes, strict=True):
                if row in part.reasons:
                    found.unreadable.append((photos[row], part.reasons[row].removeprefix(f"{paths[row]}: ")))
                else:
                    picture = np.ascontiguousarray(pixels.transpose(1, 2, 0))
                    found.photos.append(photos[row])
                    found.results.append(measure(photos[row], picture, its_size))
            progress.update(len(part.rows))
    return found


def sizes_as_text(sizes: np.ndarray) -> str:
    """Format the range and median of widths and heights. sizes: int, N x 2, height and width of each photo."""
    height, width = sizes.T
    if not len(sizes):
        return "unknown: no photo can be read"
    if (sizes == sizes[0]).all():
        return f"{width[0]} x {height[0]} pixels, all of them"
    return f"width {_span(width)}; height {_span(height)} pixels"


def _span(sides: np.ndarray) -> str:
    return f"{sides.min()} to {sides.max()}, median {np.median(sides):g}"


def sizes_as_json(sizes: np.ndarray) -> dict[str, dict[str, float]]:
    """Minimum, median and maximum of heights and widths, in pixels; {} where there are no photos."""
    return {
        side: {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}
        for side, values in zip(("height", "width"), sizes.T, strict=True)
        if len(values)
    }


def table(splits: dict[str, Listing]) -> Iterable[str]:
    """Format the numbers of photos as a table, line by line: a row a class, a column a split."""
    counts = {split: dict(zip(listing.classes, listing.counts(), strict=True)) for split, listing in splits.items()}
    classes = sorted({name for split in counts.values() for name in split})
    shown = told_apart(classes)
    rows = [
        (text, [split.get(name, 0) for split in counts.values()]) for text, name in zip(shown, classes, strict=True)
    ]
    left_out = len(rows) - MANY
    if left_out > 0:  # those with the fewest photos matter most
        rows = sorted(rows, key=lambda row: max(row[1]))[:MANY]
    rows.append(("all", [len(listing) for listing in splits.values()]))
    width = max(len(name) for name, _ in rows) + 2
    if left_out > 0:
        yield f"{MANY + left_out:,} classes; the {MANY} with the fewest photos:"
    yield " " * width + "".join(f"{split or 'photos':>12}" for split in counts)
    for name, row in rows:
        yield f"{name:<{width}}" + "".join(f"{count:>12,}" for count in row)
