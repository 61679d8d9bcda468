"""Makes the pictures of the documents, and the output that they quote, by running their own commands on drawn photos.

python scripts/pictures.py            everything
python scripts/pictures.py readme     docs/pictures/curves.png and predictions.jpg, after a training with the defaults
python scripts/pictures.py walk       docs/how-it-works.md and its Chinese version, with their pictures
python scripts/pictures.py fields RUN docs/pictures/fields.png, of a run with local receptive fields

The walk's commands are read from docs/how-it-works.md: the lines of each block marked sh are run, in an empty folder,
and what they print goes into the blocks marked text, cut to what the comment before such a block says:
`<!-- output: A .. B | C -->` are the lines from the first that holds A to the next that holds B, then the one with C;
"..." stands for what is left out between them.
"""

import io
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageStat

from catdog.base.atomic import write_atomic, write_text
from catdog.config.toml import load_config
from catdog.data.drawn import CLASSES, draw
from catdog.drawing.figures import encode, new_figure, save_figure
from catdog.model.build import build_model
from catdog.predict import Classifier, Prediction
from catdog.tools.explain import graph
from catdog.tools.explain.explanation import explain
from catdog.tools.explain.fields_picture import draw_fields
from catdog.tools.explain.picture import cut_out, poster
from catdog.train import train

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
PAGES = (ROOT / "docs" / "how-it-works.md", ROOT / "docs" / "how-it-works.zh-CN.md")
UNSEEN = 10_000_000  # a seed that the training set does not use

PHOTO = "runs/new/cat/cat-00000.jpg"  # the one that the walk explains, with the network in
RUN = "runs/first"
PANELS = ("photo", "forward", "backward", "chain", "step", "pixels")
# What the walk's commands draw, by the name under which the pages show it.
DRAWN = {
    "textbook-network.png": "runs/textbook/textbook-network.png",
    "textbook-circuit.png": "runs/textbook/textbook-circuit.png",
    "demo-depth.png": "runs/demo-depth.png",
    "demo-activation.png": "runs/demo-activation.png",
    "demo-loss.png": "runs/demo-loss.png",
    "demo-permute.png": "runs/demo-permute.png",
    "templates.png": "runs/linear/explain/templates.png",
    "first-curves.png": "runs/first/curves.png",
    "learning-rates.png": "runs/first/learning_rates.png",
    "mistakes.jpg": "runs/first/evaluation/mistakes.png",
}
WIDEST = 1100  # pixels of a JPEG

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUOTE = re.compile(r"(<!-- output: (.*?) -->\n\n```text\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)
_MADE_WITH = re.compile(r"(<!-- made with -->).*?(<!-- end -->)", re.DOTALL)


def draw_readme() -> None:
    """Train with the defaults on the drawn set, then predict drawings that it has not seen."""
    with tempfile.TemporaryDirectory() as place:
        run = train(load_config(None, {"data": "sample", "out": str(Path(place) / "run")}))
        shutil.copy(run / "curves.png", PICTURES / "curves.png")
        classifier = Classifier.load(run)
        drawings = [draw(CLASSES[i % 2], UNSEEN + i, (256, 256)) for i in range(10)]
        answers = []
        for i, drawing in enumerate(drawings):
            path = Path(place) / f"{i}.png"
            drawing.save(path)
            answers.append(classifier.predict(path))
    draw_predictions([np.asarray(drawing) for drawing in drawings], answers, PICTURES / "predictions.jpg")


def draw_predictions(photos: Sequence[np.ndarray], answers: Sequence[Prediction], path: Path, columns: int = 5) -> None:
    """Draw a sheet of photos (uint8, H x W x 3), each under its predicted label and probability."""
    rows = -(-len(photos) // columns)
    figure = new_figure(2 * columns, 2.25 * rows)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, photo, answer in zip(figure.axes, photos, answers, strict=False):
        axes.imshow(photo)
        axes.set_title(f"{answer.label} {answer.probability:.1%}")
    save_figure(figure, path)


def walk() -> None:
    """Run the commands of docs/how-it-works.md; fill in what they print in both languages, and keep their pictures."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        printed = run_commands(PAGES[0].read_text(encoding="utf-8"), place)
        for picture, source in DRAWN.items():
            keep(Image.open(place / source), PICTURES / picture)
        keep_panels(place)
    made_with = f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}"
    for page in PAGES:
        text = fill_in(page.read_text(encoding="utf-8"), printed)
        write_text(page, _MADE_WITH.sub(rf"\g<1>{made_with}\g<2>", text))


def run_commands(page: str, place: Path) -> dict[str, str]:
    """Run the commands of a page in their order, in `place`; return what each wrote to standard output, the last time.

    Raises CalledProcessError at the first that fails.
    """
    environment = os.environ | {"XDG_CACHE_HOME": str(place / "cache"), "PYTHONPATH": str(ROOT)}
    printed: dict[str, str] = {}
    for kind, block in _BLOCK.findall(page):
        for command in block.splitlines() if kind == "sh" else ():
            print(command, flush=True)
            words = [sys.executable, "-m", *shlex.split(command)]
            printed[command] = subprocess.run(
                words, cwd=place, env=environment, stdout=subprocess.PIPE, check=True, text=True, encoding="utf-8"
            ).stdout
    return printed


def fill_in(page: str, printed: dict[str, str]) -> str:
    """The page with each quotation made anew from what the commands of the block before it printed."""

    def quotation(found: re.Match[str]) -> str:
        block = [block for kind, block in _BLOCK.findall(page[: found.start()]) if kind == "sh"][-1]
        output = "".join(printed[command] for command in block.splitlines())
        return found[1] + cut(output, found[2]) + found[4]

    return _QUOTE.sub(quotation, page)


def cut(output: str, wanted: str) -> str:
    """The lines of `output` that a comment asks for: "A .. B | C"; without speeds, which no second run repeats."""
    lines = [re.sub(r" +[\d,]+ photos/s$", "", line) for line in output.splitlines()]
    kept: list[str] = []
    at = 0
    for part in wanted.split(" | "):
        first, _, last = part.partition(" .. ")
        start = _find(first, lines, at)
        left_out = kept and start > at
        at = 1 + (_find(last, lines, start + 1) if last else start)
        kept += ["...", *lines[start:at]] if left_out else lines[start:at]
    return "".join(f"{line}\n" for line in kept)


def _find(text: str, lines: list[str], start: int) -> int:
    for i in range(start, len(lines)):
        if text in lines[i]:
            return i
    sys.exit(f"no line with {text!r} in:\n" + "\n".join(lines[start:]))


def keep_panels(place: Path) -> None:
    """The picture of `catdog explain PHOTO`, a file a panel, as its page shows them."""
    e = explain(Classifier.load(place / RUN), str(place / PHOTO), PHOTO)
    figure, panels = poster(e)
    images = cut_out(graph.render(figure), panels)
    for key in PANELS:
        keep(Image.open(io.BytesIO(images[key])), PICTURES / f"explain-{key}.png")


def keep(image: Image.Image, path: Path) -> None:
    """Write a picture small: as a JPEG, no wider than WIDEST; as a PNG, of 256 colours where nobody could tell."""
    image = image.convert("RGB")
    data = io.BytesIO()
    if path.suffix == ".jpg":
        if image.width > WIDEST:
            size = (WIDEST, round(image.height * WIDEST / image.width))
            image = image.resize(size, Image.Resampling.LANCZOS)
        image.save(data, "JPEG", quality=82, optimize=True)
    else:
        fewer = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        (rms,) = ImageStat.Stat(ImageChops.difference(image, fewer.convert("RGB")).convert("L")).rms
        (fewer if rms < 0.5 else image).save(data, "PNG", optimize=True)
    write_atomic(path, lambda file: file.write(data.getvalue()))


def fields(run: Path) -> None:
    """The local receptive fields of the network in `run`, before training, as its seed drew them, and after."""
    classifier, config = Classifier.load(run), load_config(run / "config.toml")
    torch.manual_seed(config.run.seed)
    first = build_model(config, len(classifier.classes)).state_dict()["hidden.0.linear.weight"].numpy()
    weights = {"before training": first, "after": classifier.tensors["hidden.0.linear.weight"]}
    picture = Image.open(io.BytesIO(encode(draw_fields(classifier.card.architecture, weights), "png")))
    keep(picture, PICTURES / "fields.png")


if __name__ == "__main__":
    parts = {"readme": draw_readme, "walk": walk}
    if sys.argv[1:2] == ["fields"] and len(sys.argv) == 3:
        fields(Path(sys.argv[2]))
        sys.exit()
    if not set(sys.argv[1:]) <= set(parts):
        sys.exit(f"usage: python scripts/pictures.py [{'] ['.join(parts)}], or: python scripts/pictures.py fields RUN")
    for part in sys.argv[1:] or parts:
        parts[part]()
