"""The pixels of catdog's reduced decode beside those of a decode in full: how far apart, or a copy of the latter.

python -m benchmarks.peers.pixels difference FOLDER --image-size 32
python -m benchmarks.peers.pixels copy FOLDER --image-size 32 --to NEW
"""

import argparse
import contextlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.peers.lines import say
from catdog.base.cpus import usable_cpus
from catdog.errors import ImageError
from catdog.images.decoder import decode


def full(path: Path, side: int) -> Image.Image:
    """Decoded as large as it is, then squashed by Pillow."""
    return Image.fromarray(decode(path)).resize((side, side), Image.Resampling.BILINEAR)


def difference(paths: Iterable[Path], side: int) -> None:
    """Say the mean and the greatest absolute difference in levels (of 0 to 255), over photos, pixels and channels."""

    def of_one(path: Path) -> tuple[float, float]:
        apart = np.abs(decode(path, (side, side)).astype(np.int16) - np.asarray(full(path, side), np.int16))
        return float(apart.mean()), float(apart.max())

    with ThreadPoolExecutor(usable_cpus()[0]) as pool:
        found = np.array(list(pool.map(of_one, paths)))
    say(mean_levels=float(found[:, 0].mean()), greatest_levels=float(found[:, 1].max()), photos=len(found))


def copy(paths: Iterable[Path], side: int, folder: Path, to: Path) -> None:
    """Write each photo, squashed after a decode in full, as a PNG at the same place below `to`."""

    def one(path: Path) -> None:
        new = (to / path.relative_to(folder)).with_suffix(".png")
        new.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(ImageError):  # training skips it too
            full(path, side).save(new, compress_level=1)

    with ThreadPoolExecutor(usable_cpus()[0]) as pool:
        list(pool.map(one, paths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("difference", "copy"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--to", type=Path)
    args = parser.parse_args()
    paths = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if args.what == "copy":
        copy(paths, args.image_size, args.folder, args.to)
    else:
        difference(paths, args.image_size)


if __name__ == "__main__":
    main()
