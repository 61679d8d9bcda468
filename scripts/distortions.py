"""How often a network is right on photographs that are not as those it was trained on: distorted in fifteen ways.

python scripts/distortions.py --data PHOTOS/val                    the network that comes with catdog
python scripts/distortions.py --data PHOTOS/val --run RUN          another; --only blur dark: some of the ways

Each photo is read, distorted at its own size, and saved as a PNG file in a temporary folder, which is then evaluated as
`catdog evaluate` does it.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from catdog.base.text import listed
from catdog.data.listing import Listing, list_photos
from catdog.errors import CatdogError
from catdog.images.decoder import decode
from catdog.predict import Classifier
from catdog.tools.evaluation.measure import Evaluation, evaluate

Distortion = Callable[[Image.Image], Image.Image]


def middle(width: float, height: float, photo: Image.Image) -> Image.Image:
    """The middle of a photo, so much of its width and height, stretched to its size."""
    left, top = photo.width * (1 - width) / 2, photo.height * (1 - height) / 2
    box = (left, top, photo.width - left, photo.height - top)
    return photo.resize(photo.size, Image.Resampling.BICUBIC, box)


def far(photo: Image.Image) -> Image.Image:
    """Two thirds as large, its edge drawn out around it."""
    pixels = np.asarray(photo.resize((round(photo.width / 1.5), round(photo.height / 1.5)), Image.Resampling.LANCZOS))
    rows, columns = photo.height - len(pixels), photo.width - pixels.shape[1]
    around = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
    return Image.fromarray(np.pad(pixels, around, mode="edge"))


def turned(photo: Image.Image) -> Image.Image:
    """Turned by 20 degrees; the corners that come in are left out."""
    return middle(0.75, 0.75, photo.rotate(20, Image.Resampling.BICUBIC))


def jpeg(photo: Image.Image) -> Image.Image:
    """As a JPEG file of quality 10."""
    file = BytesIO()
    photo.save(file, "JPEG", quality=10)
    return Image.open(file)


def noise(photo: Image.Image) -> Image.Image:
    """Gaussian noise of 25 levels on each pixel, the same for each photo of a size."""
    pixels = np.asarray(photo, np.float32)
    added = np.random.default_rng(0).normal(0, 25, pixels.shape)
    return Image.fromarray((pixels + added).round().clip(0, 255).astype(np.uint8))


def levels(factors: tuple[float, float, float], photo: Image.Image) -> Image.Image:
    """Red, green and blue times these factors."""
    pixels = np.asarray(photo, np.float32) * np.array(factors, np.float32)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def contrast(factor: float, photo: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(photo).enhance(factor)


def grey(photo: Image.Image) -> Image.Image:
    return photo.convert("L").convert("RGB")


def blur(photo: Image.Image) -> Image.Image:
    """By a Gaussian of a fiftieth of the photo's side."""
    return photo.filter(ImageFilter.GaussianBlur(max(photo.size) / 50))


DISTORTIONS: dict[str, tuple[str, Distortion]] = {
    "none": ("as they are", lambda photo: photo),
    "wide": ("cut to 60% of the width and stretched", partial(middle, 0.6, 1)),
    "tall": ("cut to 60% of the height and stretched", partial(middle, 1, 0.6)),
    "near": ("the middle 65% of width and height", partial(middle, 0.65, 0.65)),
    "far": ("two thirds as large, with the edge drawn out around", far),
    "turned": ("turned by 20 degrees", turned),
    "blur": ("blurred by a Gaussian of 1/50 of the side", blur),
    "jpeg": ("as JPEG of quality 10", jpeg),
    "noise": ("with Gaussian noise of 25 levels", noise),
    "dark": ("at 40% of the brightness", partial(levels, (0.4, 0.4, 0.4))),
    "bright": ("at 170% of the brightness, clipped", partial(levels, (1.7, 1.7, 1.7))),
    "flat": ("at 40% of the contrast", partial(contrast, 0.4)),
    "hard": ("at 180% of the contrast, clipped", partial(contrast, 1.8)),
    "warm": ("red times 1.3, blue times 0.65", partial(levels, (1.3, 1.0, 0.65))),
    "cold": ("red times 0.7, blue times 1.3", partial(levels, (0.7, 1.0, 1.3))),
    "grey": ("without colour", grey),
}
"""By name: what is done, in words, and the function that does it to an RGB image."""


def distort(name: str, path: str, place: Path) -> None:
    """Save the photo `path`, distorted, as the PNG file `place`."""
    photo = Image.fromarray(decode(path))
    DISTORTIONS[name][1](photo).save(place, compress_level=1)


def evaluations(classifier: Classifier, photos: Listing, names: list[str]) -> Iterator[tuple[str, Evaluation]]:
    """For each distortion its name and the figures of `photos` distorted so."""
    with ProcessPoolExecutor() as processes:
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                for class_name in photos.classes:
                    (Path(folder) / class_name).mkdir()
                places = [Path(folder) / photos.classes[label] / f"{i}.png" for i, label in enumerate(photos.labels)]
                list(processes.map(partial(distort, name), map(photos.path, range(len(photos))), places, chunksize=64))
                yield name, evaluate(classifier, list_photos(Path(folder)), "none")[0]


def table(found: dict[str, Evaluation]) -> str:
    """The figures in Markdown, a row for each distortion, then the mean over all but "none"."""
    rows = ["| distorted | right | 95% interval | n | calibration error |", "|---|---|---|---|---|"]
    for name, figures in found.items():
        low, high = figures.accuracy_interval
        interval = f"{low:.1%} to {high:.1%}"
        rows.append(
            f"| {DISTORTIONS[name][0]} | {figures.accuracy:.1%} | {interval} | {figures.n:,} | {figures.ece:.1%} |"
        )
    distorted = [figures for name, figures in found.items() if name != "none"]
    if distorted:
        accuracy, ece = (sum(getattr(one, what) for one in distorted) / len(distorted) for what in ("accuracy", "ece"))
        rows.append(f"| mean of the {len(distorted)} | {accuracy:.1%} | | | {ece:.1%} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder of photos for each class")
    parser.add_argument("--run", metavar="RUN", default="cats-dogs", help="default: the network that comes with catdog")
    parser.add_argument(
        "--only", nargs="+", choices=DISTORTIONS, default=[*DISTORTIONS], metavar="WAY", help=listed([*DISTORTIONS])
    )
    arguments = parser.parse_args()
    try:
        classifier = Classifier.load(arguments.run)
        found = {}
        for name, figures in evaluations(classifier, list_photos(arguments.data), arguments.only):
            found[name] = figures
            print(f"{name}: {figures.accuracy:.1%}", file=sys.stderr, flush=True)
        print(table(found))
    except CatdogError as error:
        sys.exit(f"distortions: {error}")


if __name__ == "__main__":
    main()
