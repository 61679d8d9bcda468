"""`catdog data stats`: measures a folder of photos: counts, sizes, colour statistics and mean photos."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from catdog.architecture import Resize
from catdog.base.output import json_line
from catdog.base.text import MANY, in_shell, on_one_line
from catdog.data.listing import Listing
from catdog.data.remote import local_folder
from catdog.errors import CatdogError
from catdog.tools.dataset.scan import Photo, list_all, list_splits, scan_photos, sizes_as_json, sizes_as_text, table

LARGEST = 4096  # pixels: the longest side that photos are resized to


@dataclass
class Sums:
    """Sums of pixel values over photos, in integers, so that they do not depend on the order.

    pixels: int64, H x W x 3, sums of levels from 0 to 255; squares: int64, 3, sums of their squares over all pixels.
    """

    photos: int = 0
    pixels: Any = 0
    squares: Any = field(default_factory=lambda: np.zeros(3, np.int64))

    def add(self, pixels: np.ndarray) -> None:
        """Add a photo. pixels: uint8, H x W x 3."""
        wide = pixels.astype(np.int64)
        self.photos += 1
        self.pixels = self.pixels + wide
        self.squares = self.squares + np.square(wide).sum(axis=(0, 1))

    def mean_photo(self) -> np.ndarray:
        """Mean over the photos: uint8, H x W x 3."""
        return np.rint(self.pixels / self.photos).astype(np.uint8)

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Mean and (population) standard deviation of each channel over all pixels, in levels from 0 to 255."""
        mean, std = [], []
        count = self.photos * self.pixels[..., 0].size
        for total, squares in zip(self.pixels.sum(axis=(0, 1)).tolist(), self.squares.tolist(), strict=True):
            mean.append(total / count)
            std.append(math.sqrt(squares * count - total**2) / count)
        return mean, std


def combined(some: Iterable[Sums]) -> Sums:
    """Sums over several sets of photos together."""
    total = Sums()
    for one in some:
        total.photos += one.photos
        total.pixels = total.pixels + one.pixels
        total.squares = total.squares + one.squares
    return total


@dataclass(frozen=True)
class Stats:
    """Statistics of the folder `root`. sums: by split and class, of readable photos; sizes: int, N x 2, H and W."""

    root: Path
    splits: dict[str, Listing]
    image_size: tuple[int, int]
    sums: dict[str, dict[str, Sums]]
    sizes: np.ndarray
    unreadable: int


def measure(root: Path, image_size: tuple[int, int], resize: Resize = "squash") -> Stats:
    """Measure every photo below `root`, brought to `image_size` by `resize`.

    CatdogError if there is none, or none can be read.
    """
    splits = list_splits(root)
    photos = list_all(splits)
    if not photos:
        raise CatdogError(f"{root} holds no photos in class folders; put some in {root / 'cat'} and {root / 'dog'}.")
    sums: dict[str, dict[str, Sums]] = {
        split: {name: Sums() for name in listing.classes} for split, listing in splits.items()
    }

    def add_to_sums(photo: Photo, pixels: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
        sums[photo.split][photo.label].add(pixels)
        return size

    scan = scan_photos(root, photos, add_to_sums, image_size, "measuring the photos", resize)
    if not scan.results:
        raise CatdogError(
            f"none of the {len(photos):,} photos in {root} can be read; `catdog data check {in_shell(root)}` says why."
        )
    read = {split: {name: one for name, one in each.items() if one.photos} for split, each in sums.items()}
    return Stats(root, splits, image_size, read, np.array(scan.results), len(scan.unreadable))


def as_json(stats: Stats) -> dict[str, Any]:
    """Convert the statistics to plain values for JSON; levels are from 0 to 255, in the order red, green, blue."""

    def colours(sums: Sums) -> dict[str, Any]:
        mean, std = sums.mean_and_std()
        return {"photos": sums.photos, "mean": mean, "std": std}

    return {
        "folder": str(stats.root),
        "photos": len(stats.sizes) + stats.unreadable,
        "unreadable": stats.unreadable,
        "counts": {
            split: dict(zip(listing.classes, listing.counts(), strict=True)) for split, listing in stats.splits.items()
        },
        "sizes": sizes_as_json(stats.sizes),
        "image_size": list(stats.image_size),
        "colours": {
            split: {**colours(combined(each.values())), "classes": {name: colours(one) for name, one in each.items()}}
            for split, each in stats.sums.items()
            if each
        },
    }


def as_text(stats: Stats) -> str:
    """Format the statistics as text."""
    height, width = stats.image_size
    lines = [*table(stats.splits), "", f"sizes  {sizes_as_text(stats.sizes)}"]
    if stats.unreadable:
        lines.append(f"       {stats.unreadable:,} cannot be read; `catdog data check {in_shell(stats.root)}` says why")
    rows: list[tuple[str, Sums]] = []
    for split, each in stats.sums.items():
        if each:
            rows.append((split or "all", combined(each.values())))
            rows += [(f"  {on_one_line(name)}", one) for name, one in islice(each.items(), MANY)]
    first = max(len(name) for name, _ in rows) + 2
    lines += ["", f"mean and standard deviation of each channel, levels from 0 to 255, at {width} x {height} pixels:"]
    lines.append(" " * first + "".join(f"{channel:>16}" for channel in ("red", "green", "blue")))
    for name, sums in rows:
        pairs = zip(*sums.mean_and_std(), strict=True)
        lines.append(f"{name:<{first}}" + "".join(f"{f'{mean:.1f} ± {std:.1f}':>16}" for mean, std in pairs))
    if any(len(each) > MANY for each in stats.sums.values()):
        lines.append(f"(the first {MANY} classes; --json lists all)")
    return "\n".join(lines)


def draw_means(stats: Stats, path: Path) -> None:
    """Draw the mean photo of each class, in each split, as a contact sheet, a PNG."""
    from catdog.drawing.contact_sheet import Cell, Section, draw_sheet, enlarge

    sections = [
        Section(
            f"mean photos{f' of {split}' if split else ''}, at {stats.image_size[1]} x {stats.image_size[0]} pixels",
            [[Cell(enlarge(one.mean_photo()), f"{name}: {one.photos:,}")] for name, one in each.items()],
        )
        for split, each in stats.sums.items()
        if each
    ]
    draw_sheet(sections, path)


def main(folder: str, image_size: tuple[int, int], resize: Resize, json_wanted: bool, out: str | None) -> int:
    """Run `catdog data stats`; returns the exit status."""
    root = local_folder(folder)
    if not all(1 <= side <= LARGEST for side in image_size):
        raise CatdogError(f"--image-size must be from 1 to {LARGEST} pixels each way, not {image_size}.")
    picture = None
    if out is not None:
        from catdog.drawing.contact_sheet import require_png

        picture = require_png(out, root)
    stats = measure(root, image_size, resize)
    if picture is not None:
        draw_means(stats, picture)
    if json_wanted:
        print(json_line(as_json(stats)))
    else:
        print(as_text(stats))
        if picture is not None:
            print(f"\nthe mean photos are on {on_one_line(str(picture))}")
    return 0
