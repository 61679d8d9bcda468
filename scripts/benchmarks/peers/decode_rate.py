"""How many photos a second are decoded to a size on all cores, by catdog or by simplejpeg and Pillow directly."""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.peers.lines import say
from catdog.images import decode


def scaled(path: str, size: tuple[int, int]) -> np.ndarray:
    """libjpeg-turbo's scaled decode, not below `size`, then Pillow's bilinear resize."""
    data = Path(path).read_bytes()
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=size[0], min_width=size[1])
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))


DECODERS: dict[str, Callable[[str, tuple[int, int]], np.ndarray]] = {"catdog": decode, "simplejpeg": scaled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("decoder", choices=DECODERS)
    parser.add_argument("folder")
    parser.add_argument("--image-size", type=int, default=64)
    args = parser.parse_args()
    decoder, size = DECODERS[args.decoder], (args.image_size, args.image_size)
    paths = sorted(map(str, Path(args.folder).rglob("*.jpg")))
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def decode_all(some: list[str]) -> float:
            started = time.perf_counter()
            for _ in pool.map(lambda path: decoder(path, size), some, chunksize=1):
                pass
            return len(some) / (time.perf_counter() - started)

        decode_all(paths[:200])
        say(photos_per_second=decode_all(paths))


if __name__ == "__main__":
    main()
