"""Writes README.md of a run, the network's card in the form of Hugging Face's model cards, from the run's own files.

https://huggingface.co/docs/hub/model-cards says what its metadata mean. Nothing in it says where on this machine
anything lies, nor how a photo is called.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import catdog
from catdog.base.atomic import write_text
from catdog.base.text import in_utf8, listed, many, on_one_line, percent
from catdog.checkpoint.header import load_card
from catdog.checkpoint.model_card import DRAWINGS, ModelCard
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.settings import Config
from catdog.config.toml import to_toml
from catdog.data.splits import SAMPLE
from catdog.metrics import accuracy_interval
from catdog.runs.trained_on import trained_on

README = "README.md"
_FEW = 1000  # photos, below which the card says that they are few
_ROWS = 100  # classes in a table, at most
RESIZED = {"squash": "squashed", "crop": "cropped and resized", "pad": "resized and padded"}


def write_readme(run: Path, config: Config) -> None:
    """Write the card of the run folder `run`, which `config` was trained by, atomically."""
    write_text(run / README, readme(run, config))


def without_places(config: Config) -> Config:
    """`config` without where things lie on this machine: of folders and other networks, only the names."""
    start = Path(config.model.start_from)
    name = start.parent.name if start.name == MODEL_FILE else start.name
    photos = replace(config.photos, data=Path(config.photos.data).name, cache=Config().photos.cache)
    model, run = replace(config.model, start_from=name), replace(config.run, out="")
    return replace(config, photos=photos, model=model, run=run)


def readme(run: Path, config: Config) -> str:
    """The text of the card."""
    card = load_card(run / MODEL_FILE)
    name = on_one_line(run.resolve().name)
    photos = trained_on(run / MODEL_FILE) or "photos"
    is_in_folds = config.photos.folds > 1
    parts = [
        "\n".join(["---", *_metadata(name, card, photos, is_in_folds), "---"]),
        f"# {_plain(name)}",
        f"A network that says which of these is on a photo: {_listed(card.classes)}.",
        "## What it is",
        f"{_network(card)}. It sees each photo {RESIZED[card.resize]} to {_size(card)} pixels"
        + " and answers with the mean over it and its mirror image" * card.average_mirrored
        + f". {_start(card, config)} It was trained by catdog {catdog.__version__}.",
        "## Data",
        *_data(card, photos, is_in_folds),
        "## How often it is right",
        *_accuracy(card, is_in_folds),
        "## Calibration",
        _calibration(card),
        "## What it cannot do",
        "\n".join(f"- {limit}" for limit in _limits(card, photos)),
        "## How it was made",
        f"```sh\ncatdog train --config config.toml --data {SAMPLE if config.photos.data == SAMPLE else 'PHOTOS'}\n```",
        f"With the config.toml beside this page. The weights are those after epoch {card.validation['epoch']:.0f} of "
        f"{config.training.epochs}. What is other there than catdog's defaults:",
        f"```toml\n{_settings(config)}\n```",
        "## How to use it",
        "In the folder of this page, from the command line and from Python:",
        "```sh\ncatdog predict photo.jpg --run model.safetensors\n```",
        "```python\nfrom catdog.predict import Classifier\n\n"
        'answer = Classifier.load("model.safetensors").predict("photo.jpg")\n'
        "print(answer.label, answer.probability)\n```",
    ]
    return in_utf8("\n\n".join(parts) + "\n")


def _metadata(name: str, card: ModelCard, photos: str, is_in_folds: bool) -> Iterator[str]:
    """The lines of the YAML at the top of the card."""
    yield "library_name: catdog"
    yield "pipeline_tag: image-classification"
    yield f"tags: [catdog, image-classification, {card.architecture.model}]"
    yield "metrics: [accuracy]"
    yield "model-index:"
    yield f"- name: {_quoted(name)}"
    yield "  results:"
    yield "  - task: {type: image-classification, name: Image Classification}"
    yield f"    dataset: {{type: imagefolder, name: {_quoted(photos)}, split: {_split(is_in_folds)}}}"
    yield "    metrics:"
    low, high = accuracy_interval(_right(card), _photos(card))
    interval = f"Accuracy on {_photos(card):,} photos, 95% interval {percent(low)} to {percent(high)}"
    yield f"    - {{type: accuracy, value: {card.validation['accuracy']:.6g}, name: {_quoted(interval)}}}"
    if "ece" in card.validation:
        yield f"    - {{type: ece, value: {card.validation['ece']:.6g}, name: Expected calibration error}}"


def _split(is_in_folds: bool) -> str:
    return "cross-validation" if is_in_folds else "validation"


def _quoted(text: str) -> str:
    """A string of YAML, on one line, in double quotes: what JSON makes of one whose letters can all be printed."""
    return json.dumps(on_one_line(text), ensure_ascii=False)


def _plain(name: str) -> str:
    """A name in Markdown, as it stands: nothing in it is a link, a tag or a column."""
    return re.sub(r"([\\`*_~\[\]<>|&$#!])", r"\\\1", on_one_line(name))


def _listed(classes: tuple[str, ...]) -> str:
    return _plain(listed(classes))


def _photos(card: ModelCard) -> int:
    return int(card.validation["photos"])


def _right(card: ModelCard) -> int:
    return round(card.validation["accuracy"] * _photos(card))


def _size(card: ModelCard) -> str:
    height, width = card.architecture.image_size
    return f"{width} x {height}"


def _network(card: ModelCard) -> str:
    shape = card.architecture
    if not shape.is_mlp:
        return f"torchvision's {shape.model}"
    arrays = shape.state_shapes(len(card.classes)).items()
    weights = sum(math.prod(size) for name, size in arrays if "running_" not in name)
    local = f" ({sum(shape.depths)} of them with local receptive fields)" if shape.local else ""
    layers = many(len(shape.hidden_layers()), "hidden layer")
    return f"A multilayer perceptron of {layers}{local}, with {weights:,} weights and biases"


def _start(card: ModelCard, config: Config) -> str:
    if config.model.pretrained:
        return "Its training began with torchvision's own weights."
    if not card.started_from:
        return "Its training began with new weights."
    return f"Its training began with the weights of {_plain(card.started_from)}."


def _data(card: ModelCard, photos: str, is_in_folds: bool) -> Iterator[str]:
    if photos == DRAWINGS:
        yield "Cats and dogs that catdog itself draws. It has seen no photograph."
    else:
        yield f"{_plain(photos[0].upper() + photos[1:])} (the name of a folder; none of them is part of the model)."
    if is_in_folds:
        yield (
            f"It has learned from all {sum(card.train_counts):,}. The figures below are those of networks like it, "
            "each of which answered the photos that it had not learned from (cross-validation)."
        )
    else:
        yield f"{sum(card.train_counts):,} to train on, {_photos(card):,} others to choose, calibrate and measure on."
    rows = [f"| {_plain(c)} | {count:,} |" for c, count in zip(card.classes, card.train_counts, strict=False)]
    yield _table("| class | photos to train on |", rows)


def _accuracy(card: ModelCard, is_in_folds: bool) -> Iterator[str]:
    rows = [_row("all", _right(card), _photos(card))]
    rows += [_row(_plain(c), right, n) for c, (n, right) in zip(card.classes, card.by_class, strict=False)]
    yield _table("| photos of | right | 95% interval | n |", rows)
    yield (
        f"Measured by {_split(is_in_folds).replace('-', ' ')}. The epoch and the temperature were chosen on these same "
        "photos, so on others expect a little less."
    )


def _row(name: str, right: int, photos: int) -> str:
    low, high = accuracy_interval(right, photos)
    share = percent(right / photos) if photos else "-"
    return f"| {name} | {share} | {percent(low)} to {percent(high)} | {photos:,} |"


def _table(head: str, rows: list[str]) -> str:
    more = [f"\nand {len(rows) - _ROWS:,} classes more."] if len(rows) > _ROWS else []
    return "\n".join([head, re.sub(r"[^|]+", "---", head), *rows[:_ROWS], *more])


def _calibration(card: ModelCard) -> str:
    ece = card.validation.get("ece")
    off = f" On the photos above it was off by {percent(ece)} (expected calibration error, 15 bins)." if ece else ""
    return (
        f"A probability is softmax(logits / {card.temperature:.4g}): of the answers that it is 70% sure of, about 70% "
        f"should be right.{off}"
    )


def _limits(card: ModelCard, photos: str) -> Iterator[str]:
    yield f"Say anything but {_listed(card.classes)}; whatever else is on a photo is called one of them."
    if card.familiarity:
        yield (
            "Tell all strangers: `catdog predict` answers `unfamiliar` for photos that are less like those it was "
            "trained on than 95% of others like them are, and misses some."
        )
    else:
        yield "Tell that a photo is like nothing it was trained on: it answers all of them alike."
    if sum(card.train_counts) < _FEW:
        yield f"Promise much: it has learned from {sum(card.train_counts):,} pictures; the intervals above are wide."
    if photos == DRAWINGS:
        yield "Answer for photographs: it was trained on drawings."
    else:
        yield (
            "Answer for photos that differ from these, by another camera, light, background or distance: how often it "
            "is right on such ones was not measured."
        )
    yield f"See what is small: of a whole photo {_size(card)} pixels are left, and there is one answer for all of it."


def _settings(config: Config) -> str:
    lines, usual = (
        [line for line in to_toml(c).splitlines() if " = " in line and line[0] != "#"]
        for c in (without_places(config), Config())
    )
    return "\n".join(line for line in lines if line not in usual)
