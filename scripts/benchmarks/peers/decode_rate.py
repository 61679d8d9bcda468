"""How many photos a second are decoded to a size by a process a core, by catdog or by simplejpeg and Pillow alone."""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.peers.lines import say
from catdog.base.cpus import usable_cpus
from catdog.data.decode_pool import DecodePool

_PART = 64  # photos decoded in a turn


def scaled(paths: Sequence[str], side: int) -> np.ndarray:
    """libjpeg-turbo's scaled decode, not below `side`, then Pillow's bilinear resize: uint8, N x side x side x 3."""
    pixels = np.empty((len(paths), side, side, 3), np.uint8)
    for place, path in enumerate(paths):
        large = simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB", min_height=side, min_width=side)
        pixels[place] = np.asarray(Image.fromarray(large).resize((side, side), Image.Resampling.BILINEAR))
    return pixels


def parts(paths: Sequence[str]) -> list[Sequence[str]]:
    return [paths[i : i + _PART] for i in range(0, len(paths), _PART)]


def rate(decode: Callable[[Sequence[str]], None], paths: Sequence[str]) -> float:
    """Photos a second, once all processes are at work."""
    decode(paths[: 4 * _PART])
    started = time.perf_counter()
    decode(paths)
    return len(paths) / (time.perf_counter() - started)


def by_catdog(paths: Sequence[str], side: int, count: int) -> float:
    pixels = np.empty((len(paths), 3, side, side), np.uint8)
    with DecodePool((side, side), count, len(paths)) as pool:
        return rate(lambda some: list(pool.decode_all(some, pixels[: len(some)])).clear(), paths)


def by_simplejpeg(paths: Sequence[str], side: int, count: int) -> float:
    with ProcessPoolExecutor(count) as pool:
        return rate(lambda some: list(pool.map(scaled, parts(some), [side] * len(some))).clear(), paths)


DECODERS = {"catdog": by_catdog, "simplejpeg": by_simplejpeg}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("decoder", choices=DECODERS)
    parser.add_argument("folder")
    parser.add_argument("--image-size", type=int, default=64)
    args = parser.parse_args()
    paths = sorted(map(str, Path(args.folder).rglob("*.jpg")))
    say(photos_per_second=DECODERS[args.decoder](paths, args.image_size, usable_cpus()[0]))


if __name__ == "__main__":
    main()
