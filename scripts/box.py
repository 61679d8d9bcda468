"""Makes the network that comes with catdog, and its model card, of a run: stored compactly, measured as it is stored.

python scripts/box.py RUN                        catdog/trained/cats-dogs.safetensors and catdog/trained/README.md
python scripts/box.py RUN --bits 16 --out FILE   weights in float16; FILE, and its model card beside it
python scripts/box.py --familiarity --data PHOTOS   of the network that comes with catdog, only what tells how familiar
                                                 a photo is, and that section of its card (--strangers FILE: a table)

Nothing is fitted again: the figures are those that the weights which are stored reach on the photos that the run was
validated on.
"""

import argparse
import shlex
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import catdog
from catdog.base.atomic import write_text
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import save_model
from catdog.checkpoint.quantize import dequantize, quantize
from catdog.checkpoint.saved_model import load_model
from catdog.config.schema import fields
from catdog.config.settings import Config, Photos
from catdog.config.toml import load_config
from catdog.data.held_out import held_out_photos
from catdog.data.photo_dataset import PhotoDataset
from catdog.data.splits import photo_folder, train_and_val
from catdog.errors import CatdogError
from catdog.familiarity import familiarity_shapes
from catdog.metrics import accuracy_interval
from catdog.predict import Classifier
from catdog.runs.locate import TRAINED, comes_with_catdog, find_model
from catdog.runs.readme import RESIZED
from catdog.tools.evaluation.measure import Evaluation, evaluate
from catdog.trainer.fit_familiarity import add_familiarity

SOURCE = (
    'the Kaggle "Dogs vs. Cats" competition (2013; from Asirra, Elson et al. 2007), each squashed to 200 x 200 pixels, '
    "a few of them known to be there twice or under the wrong name"
)
LIMIT = 8_000_000  # bytes of the file, since everybody who installs catdog gets it
STORAGE = {8: "int8", 16: "float16"}  # by bits
_FAMILIARITY, _LIMITS = "## What is like nothing it was trained on", "## What it cannot do"
_OF_FAMILIARITY = familiarity_shapes(0, 0, 0)  # names of arrays
_PLACES = ("data", "out", "cache", "cache_limit")  # settings that say where files lie, not what is trained


def box(
    run: str,
    bits: int = 8,
    out: Path = TRAINED,
    data: str | None = None,
    source: str = SOURCE,
    took: str = "",
    distortions: str = "",
    strangers: str = "",
) -> str:
    """Write the network of `run` to `out`, its weights in `bits` (8 or 16) bits, and its model card beside it.

    data: the folder of the photos that it was validated on, if that has moved. For the model card: source, what they
    are; took, how long the training took, and on what; distortions and strangers, the tables of scripts/distortions.py
    and scripts/strangers.py.

    Returns the figures in one line. Raises CatdogError, before anything is written, where the photos are missing or the
    file would be too large.
    """
    model = find_model(run)
    if comes_with_catdog(model):
        raise CatdogError(f"{model} has been boxed already; give the folder of a run.")
    tensors, card = load_model(model)
    if card.architecture.model != "mlp":
        raise CatdogError(f"{model} is no MLP, which is what comes with catdog; give another run.")
    config = load_config(model.parent / "config.toml")
    photos = held_out_photos(Path(data) if data is not None else photo_folder(config.photos), config)
    weights = dequantize(quantize(tensors, STORAGE[bits]))
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise CatdogError(f"{model} holds weights that are too large for float16; give --bits 8.")
    full, _, full_probabilities = evaluate(Classifier(tensors, card), photos, config.photos.cache)
    figures, _, probabilities = evaluate(Classifier(weights, card), photos, config.photos.cache)
    agreement = float((probabilities.argmax(axis=1) == full_probabilities.argmax(axis=1)).mean())
    card = replace(
        card,
        storage=STORAGE[bits],
        recipe=recipe(config),
        validation=_validation(figures, full.accuracy, agreement, card.validation),
    )
    size = sum(array.nbytes for array in quantize(tensors, card.storage).values())
    if size + 10_000 > LIMIT:  # with its header
        raise CatdogError(
            f"{out} would hold {size:,} bytes of weights, too many for {LIMIT:,}; train a smaller network."
        )
    save_model(out, tensors, card)
    page = out.with_name("README.md") if comes_with_catdog(out) else out.with_suffix(".md")
    write_text(page, model_card(card, config, weights, out, source, took, distortions, strangers))
    return (
        f"{out}: {out.stat().st_size:,} bytes, {figures.accuracy:.2%} of {figures.n:,} right (the run itself "
        f"{full.accuracy:.2%}; the same answer on {agreement:.2%}), ECE {figures.ece:.2%}; {page} describes it"
    )


def _validation(
    figures: Evaluation, full_accuracy: float, agreement: float, before: Mapping[str, float]
) -> dict[str, float]:
    """The figures of the card. A class is named after a stroke, which no class's own name holds."""
    low, high = figures.accuracy_interval
    found = {
        "accuracy": figures.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": figures.loss,
        "ece": figures.ece,
        "photos": figures.n,
        "epoch": before["epoch"],
        "full_accuracy": full_accuracy,
        "agreement": agreement,
    }
    if figures.auc is not None:
        found["auc"] = figures.auc
    for i, (name, row) in enumerate(zip(figures.classes, figures.confusion, strict=True)):
        found[f"photos/{name}"] = sum(row)
        found[f"accuracy/{name}"] = row[i] / max(1, sum(row))
    return found


def recipe(config: Config) -> str:
    """The command that repeats the training of `config`, but for where the photos are: each setting that is not the
    default, as a flag."""
    words = ["catdog", "train", "--data", "PHOTOS"]
    for f in fields().values():
        value = getattr(getattr(config, f.section), f.name)
        if f.name in _PLACES or value == f.default:
            continue
        if isinstance(value, bool):
            words.append(f.flag if value else f.flag.replace("--", "--no-", 1))
        else:
            words += [f.flag, *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def model_card(
    card: ModelCard,
    config: Config,
    weights: Mapping[str, NDArray[np.float32]],
    file: Path,
    source: str,
    took: str,
    distortions: str,
    strangers: str,
) -> str:
    """The page, in Markdown, that says what the network is, how it was made, how good it is, and what it cannot do."""
    from catdog.model.build import build_model  # torch takes seconds to import

    v = card.validation
    height, width = card.architecture.image_size
    shapes = card.architecture.state_shapes(len(card.classes))
    classes = " or ".join(card.classes)
    rows = [_row("all", v["accuracy"], int(v["photos"]))]
    rows += [_row(name, v[f"accuracy/{name}"], int(v[f"photos/{name}"])) for name in card.classes]
    counts = ", ".join(f"{count:,} {name}" for name, count in zip(card.classes, card.train_counts, strict=True))
    stored = {
        "int8": "8-bit whole numbers with a scale for each unit",
        "float16": "16-bit floating-point numbers",
    }[card.storage]
    statistics = ", with the means and variances of batch norm" if config.model.batch_norm else ""
    paragraphs = [
        f"# {file.stem}, a trained network",
        f"`python scripts/box.py` wrote this page and [{file.name}]({file.name}) from a run of catdog "
        f"{catdog.__version__}.",
        "## What it is",
        f"A multilayer perceptron that says {classes} of a photo, which it sees {RESIZED[card.resize]} to {width} x "
        f"{height} pixels:",
        textwrap.indent(build_model(config, len(card.classes)).describe(), "    "),
        f"{sum(weights[name].size for name in shapes):,} numbers{statistics}, of which the matrices are stored as "
        f"{stored}: "
        f"{file.stat().st_size:,} bytes."
        + (
            " `catdog predict photo.jpg` takes it where no run in runs/ was trained on photographs; `--run cats-dogs` "
            "names it."
            if comes_with_catdog(file)
            else ""
        ),
        "## Data",
        f"Photographs of {source}: {sum(card.train_counts):,} for training ({counts}), {v['photos']:,.0f} others to "
        "choose and calibrate on. None of them is in this repository.",
        "## How it was made",
        textwrap.indent(card.recipe, "    "),
        f"The weights are those after epoch {v['epoch']:.0f}; probability = softmax(logits / {card.temperature:.4g}). "
        + (f"The training took {took}. " if took else "")
        + "The same command gives the same network on the same photographs, machine and versions; on a CPU, to the "
        "last bit.",
        "## How often it is right",
        f"On the {v['photos']:,.0f} photographs to choose and calibrate on, as it is stored:",
        "\n".join(["| photographs of | right | 95% interval | n |", "|---|---|---|---|", *rows]),
        f"Before its weights were made smaller it was right on {v['full_accuracy']:.2%}; both give the same answer on "
        f"{v['agreement']:.2%} of the photographs. Its probabilities are off by {v['ece']:.2%} (expected calibration "
        f"error, 15 bins), and its log loss is {v['loss']:.4f}."
        + (f" ROC AUC {v['auc']:.4f}." if "auc" in v else "")
        + " The epoch and the temperature were chosen on these same photographs, so on others expect a little less.",
        *(
            ["On the same photographs, distorted by `python scripts/distortions.py`:", distortions]
            if distortions
            else []
        ),
        *familiarity_section(card, strangers),
        _LIMITS,
        "\n".join(
            [
                f"- Say anything but {classes}. Any other animal, a person, a thing or an empty room is called one of "
                "them, sometimes with great certainty; `--unsure-below` does not cure that"
                + (", and `unfamiliar` not always." if card.familiarity else "."),
                "- Drawings, paintings, toys and cartoons: it was trained on photographs.",
                "- Several animals in one photo: there is one answer, for the whole of it.",
                f"- Tiny faces and far-off animals: at {width} x {height} pixels little of them is left.",
                "- Tell breeds or one animal from another.",
                "- Answer for photographs unlike those of the set, which are snapshots of one animal that fills much "
                "of the picture: how often it is right on others was not measured here.",
            ]
        ),
    ]
    return "\n\n".join(paragraphs) + "\n"


def familiarity_section(card: ModelCard, strangers: str) -> list[str]:
    """Paragraphs on `catdog.familiarity`; none where the file has nothing of it. strangers: a table in Markdown."""
    if not card.familiarity:
        return []
    return [
        _FAMILIARITY,
        "`catdog predict` answers `unfamiliar (cat 87.0%)` for a photo that is less like those it was trained on than "
        "95% of the photographs to choose and calibrate on are."
        + (" By `python scripts/strangers.py`, familiar ones being others of these:" if strangers else ""),
        *([strangers] if strangers else []),
    ]


def add_to_the_box(photos: Path, strangers: str, file: Path = TRAINED) -> str:
    """Fit anew what tells how familiar a photo is to the boxed network `file`, whose weights stay, and renew its card.

    photos: the folder that it was trained and validated on.
    """
    tensors, card = load_model(file)
    before, size, resize = file.stat().st_size, card.architecture.image_size, card.resize
    listings = train_and_val(photos, Photos().val_share, 0)
    train, val = (PhotoDataset(listing, size, resize) for listing in listings)
    add_familiarity(file, train, val)
    again, card = load_model(file)
    assert all(np.array_equal(again[name], array) for name, array in tensors.items() if name not in _OF_FAMILIARITY)
    page = file.with_name("README.md") if comes_with_catdog(file) else file.with_suffix(".md")
    start, end = page.read_text(encoding="utf-8").split(_LIMITS)
    text = "\n\n".join(
        [start.split(_FAMILIARITY)[0].rstrip("\n"), *familiarity_section(card, strangers), _LIMITS + end]
    )
    write_text(page, text.replace(f"{before:,} bytes", f"{file.stat().st_size:,} bytes"))
    return f"{file}: {file.stat().st_size:,} bytes, {before:,} before; {page} describes it"


def _row(name: str, accuracy: float, photos: int) -> str:
    low, high = accuracy_interval(round(accuracy * photos), photos)
    return f"| {name} | {accuracy:.2%} | {low:.2%} to {high:.2%} | {photos:,} |"


def _text(file: Path | None) -> str:
    return file.read_text(encoding="utf-8").strip() if file else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", metavar="RUN", help="folder of the run, or its name in runs/")
    parser.add_argument("--familiarity", action="store_true", help="of the package's own network: nothing else anew")
    parser.add_argument("--bits", type=int, choices=STORAGE, default=8, help="of each weight (default: 8)")
    parser.add_argument("--out", type=Path, default=TRAINED, metavar="FILE", help="default: the package's own")
    parser.add_argument("--data", metavar="DIR", help="its folder of photos (default: where the run found them)")
    parser.add_argument("--source", default=SOURCE, metavar="TEXT", help=f"photographs of what (default: {SOURCE})")
    parser.add_argument("--took", default="", metavar="TEXT", help="how long the training took, and on what")
    parser.add_argument("--distortions", type=Path, metavar="FILE", help="what scripts/distortions.py printed")
    parser.add_argument("--strangers", type=Path, metavar="FILE", help="what scripts/strangers.py printed")
    arguments = parser.parse_args()
    if arguments.familiarity == bool(arguments.run) or (arguments.familiarity and not arguments.data):
        parser.error("give a RUN, or --familiarity and --data")
    table, strangers = map(_text, (arguments.distortions, arguments.strangers))
    try:
        if arguments.familiarity:
            print(add_to_the_box(Path(arguments.data), strangers, arguments.out))
            return
        how = {"source": arguments.source, "took": arguments.took, "distortions": table, "strangers": strangers}
        print(box(arguments.run, arguments.bits, arguments.out, arguments.data, **how))
    except CatdogError as error:
        sys.exit(f"box: {error}")


if __name__ == "__main__":
    main()
