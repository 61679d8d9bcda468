"""How well a network tells photos that are like nothing it was trained on (`catdog.familiarity`) from familiar ones.

python scripts/strangers.py --data PHOTOS                             the network that comes with catdog
python scripts/strangers.py --data PHOTOS --run RUN flowers cars      another; and folders of photos as strangers

PHOTOS: the folder that it was trained on. Familiar are its validation photos, but for those that the distances in the
model file are of. Strangers are the photos in the folders given, and drawings, noise, plain colours and screens of
text, which are made here. Then the familiar photos, distorted as scripts/distortions.py does it. For each kind: the
area under the ROC curve of its distances against those of the familiar photos, and how many are called unfamiliar.
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catdog.cli.flags import UNFAMILIAR
from catdog.data.drawn import CLASSES, draw
from catdog.data.inputs import photos_of
from catdog.data.splits import train_and_val
from catdog.errors import CatdogError, ImageError
from catdog.familiarity import distances, familiarity
from catdog.images.decoder import decode
from catdog.metrics import roc_curve
from catdog.numpy_net import Floats
from catdog.predict import Classifier
from catdog.trainer.fit_familiarity import spread_rows
from distortions import DISTORTIONS

_BATCH = 64
_WORDS = (
    "the",
    "of",
    "and",
    "with",
    "file",
    "edit",
    "view",
    "help",
    "total",
    "price",
    "date",
    "error",
    "import",
    "class",
)


def noise(seed: int) -> Image.Image:
    """Of each pixel, of grey, of black and white, or of large soft spots."""
    rng = np.random.default_rng(seed)
    kind, side = seed % 4, int(rng.integers(2, 16)) if seed % 4 == 3 else 160
    found: np.ndarray = rng.normal(128, rng.uniform(20, 80), (side, side, 1 if kind == 1 else 3))
    if kind == 2:
        found = np.where(found > 128, 255.0, 0.0)
    pixels = np.broadcast_to(found, (side, side, 3)).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC)


def plain(seed: int) -> Image.Image:
    """Black, white, a grey, or any colour."""
    rng = random.Random(seed)
    grey, colour = rng.randrange(256), tuple(rng.randrange(256) for _ in range(3))
    return Image.new("RGB", (160, 160), ((0, 0, 0), (255, 255, 255), (grey, grey, grey), colour)[seed % 4])


def text(seed: int) -> Image.Image:
    """A screen or a page of words, light or dark, with a bar at the top or none."""
    rng = random.Random(seed)
    width, height = rng.choice([(640, 480), (480, 640), (800, 500), (400, 800)])
    paper, ink = rng.choice([(rng.randint(225, 255), rng.randint(0, 90)), (rng.randint(0, 50), rng.randint(180, 255))])
    screen = Image.new("RGB", (width, height), (paper, paper, paper))
    pen, size, y = ImageDraw.Draw(screen), rng.randint(10, 34), rng.randint(5, 60)
    if rng.random() < 0.5:
        pen.rectangle((0, 0, width, rng.randint(20, 60)), fill=tuple(rng.randrange(256) for _ in range(3)))
    left, font = rng.randint(5, 80), ImageFont.load_default(size)
    while y < height:
        words = " ".join(rng.choices(_WORDS, k=rng.randint(0, 14)))
        pen.text((left, y), words, fill=(ink, ink, ink), font=font)
        y += round(size * rng.uniform(1.1, 1.6))
    return screen


MADE: dict[str, Callable[[int], Image.Image]] = {
    "drawn cats and dogs": lambda seed: draw(CLASSES[seed % 2], seed),
    "noise": noise,
    "one colour, or black": plain,
    "screens of text": text,
}


def features(classifier: Classifier, pictures: Iterator[Image.Image | str]) -> Floats:
    """Their features, N x D. pictures: files, or as they are."""
    found = []
    while batch := list(islice(pictures, _BATCH)):
        pixels = []
        for picture in batch:
            try:
                pixels.append(classifier.decode(picture if isinstance(picture, str) else _png(picture)))
            except ImageError as error:
                print(f"left out: {error}", file=sys.stderr)
        if pixels:
            found.append(classifier.logits_and_features(np.stack(pixels))[1])
    return np.concatenate(found)


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


def row(classifier: Classifier, name: str, familiar: Floats, strange: Floats) -> str:
    """A row of the table: the kind, how many, AUROC, the share that is called unfamiliar."""
    far = distances(classifier.tensors, strange)
    near = distances(classifier.tensors, familiar)
    false, true = roc_curve(np.repeat([False, True], [len(near), len(far)]), np.concatenate([near, far]))
    area = float(((true[1:] + true[:-1]) / 2 * np.diff(false)).sum())
    share = float((familiarity(classifier.tensors, strange) < UNFAMILIAR).mean())
    return f"| {name} | {len(far):,} | {area:.3f} | {share:.0%} |"


def table(classifier: Classifier, photos: Path, folders: Sequence[str], most: int, distorted: int) -> Iterator[str]:
    """The rows in Markdown. most: of each kind; distorted: photos for each distortion, 0 for none."""
    val = train_and_val(photos, 0.2, 0)[1]
    others = np.setdiff1d(np.arange(len(val)), spread_rows(len(val)))
    rng = np.random.default_rng(0)
    chosen = [val.path(int(place)) for place in rng.permutation(others)[:most]]
    familiar = features(classifier, iter(chosen))
    yield "| photos | n | AUROC | called unfamiliar |"
    yield "|---|---|---|---|"
    yield row(classifier, "familiar", familiar, familiar).replace("0.500", "-")
    for folder in folders:
        files = sorted(name for name, _ in photos_of([folder]))
        some = [files[place] for place in rng.permutation(len(files))[:most]]
        yield row(classifier, Path(folder).name, familiar, features(classifier, iter(some)))
    for name, make in MADE.items():
        yield row(classifier, name, familiar, features(classifier, (make(seed) for seed in range(min(most, 300)))))
    for what, distort in DISTORTIONS.values() if distorted else ():
        pictures = (distort(Image.fromarray(decode(path))) for path in chosen[:distorted])
        yield row(classifier, f"familiar, {what}", familiar, features(classifier, pictures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="DIR", help="photos that are like nothing in PHOTOS")
    parser.add_argument("--data", required=True, type=Path, metavar="PHOTOS", help="the photos that it was trained on")
    parser.add_argument("--run", default="cats-dogs", help="folder of the run, or its name in runs/")
    parser.add_argument("--most", type=int, default=1000, metavar="N", help="photos of each kind (default: 1000)")
    parser.add_argument("--distorted", type=int, default=100, metavar="N", help="of each distortion (default: 100)")
    arguments = parser.parse_args()
    try:
        classifier = Classifier.load(arguments.run)
        if not classifier.card.familiarity:
            raise CatdogError(f"the model file of {arguments.run} does not tell how familiar a photo is; give another.")
        for line in table(classifier, arguments.data, arguments.folders, arguments.most, arguments.distorted):
            print(line, flush=True)
    except CatdogError as error:
        sys.exit(f"strangers: {error}")


if __name__ == "__main__":
    main()
