"""Makes the network that comes with catdog of a run: stored in 8 bits, measured as it is stored, with its card.

python scripts/box.py RUN

It writes catdog/trained/cats-dogs.safetensors and catdog/trained/README.md. The figures are those of the stored network
on the photos that the run was validated on, which must be there.
"""

import sys
from dataclasses import replace

import numpy as np

from catdog.checkpoint import load_model, save_model, write_text
from catdog.compact import compacted, widened
from catdog.config import Config, fields, load_config
from catdog.evaluate import Evaluation, evaluate
from catdog.metrics import accuracy_interval
from catdog.predict import TRAINED, Classifier, find_model
from catdog.source import held_out_photos, photo_folder

LIMIT = 6_000_000  # bytes
_OF_THE_PLACE = ("data", "out", "cache", "cache_limit", "threads", "device")

CARD = """# cats-dogs, the network that comes with catdog

`python scripts/box.py RUN` wrote this page. The network answers `catdog predict photo.jpg` where there is no run, and
goes by the name `--run cats-dogs`.

## What it is

{network}

Its weights are stored in 8 bits, with a scale for each unit: {size:,} bytes. Its input is a photo squashed to
{width} x {height} pixels.

## How it was made

    {recipe}

on {train}, photographs of the Kaggle "Dogs vs. Cats" competition (2013; from Asirra,
Elson et al. 2007), each squashed to 200 x 200 pixels. None of them is in this repository. The same command on the same
photographs, machine and versions gives the same network.

## How often it is right

Measured as it is stored, on {n:,} other photographs of the same set:

| | right | 95% interval | photographs |
|---|---|---|---|
| all | {accuracy:.2%} | {low:.1%} to {high:.1%} | {n:,} |
{by_class}

In 32 bits it is right on {full:.2%}; both give the same answer on {agreement:.2%} of the photographs. The area under
the ROC curve is {auc:.4f}. When it says 90%, it should be right nine times in ten: the expected calibration error is
{ece:.2%} (15 bins, temperature {temperature:.3f}). The same photographs chose the epoch and fitted the temperature, so
all this looks slightly better than it is.

## What it cannot do

- It knows two answers. A rabbit, a person or a teapot is called a cat or a dog, sometimes with great certainty;
  `--unsure-below 0.9` makes it say "not sure" more often, which does not cure this.
- It was trained on snapshots with one animal that fills much of the picture. It was not measured on drawings, on
  several animals at once, on tiny ones, or on any other set of photographs.
- The set is known to hold some wrong labels and duplicates, in training and in validation.
- It sees {width} x {height} pixels: no breed, no face, nothing about a single animal is to be learned from its answers.
"""


def flags(config: Config) -> str:
    """The flags of `catdog train` that give `config`, but for where files are."""
    words = []
    for f in fields().values():
        value = getattr(getattr(config, f.section), f.name)
        if f.name in _OF_THE_PLACE or value == f.default:
            continue
        if isinstance(value, bool):
            words.append(f.flag if value else f.flag.replace("--", "--no-", 1))
        else:
            words.append(" ".join([f.flag, *map(str, value if isinstance(value, tuple) else (value,))]))
    return " ".join(words)


def main(run: str) -> None:
    model = find_model(run)
    tensors, card = load_model(model)
    config = load_config(model.parent / "config.toml")
    photos = held_out_photos(photo_folder(config.photos), config)
    stored = compacted(tensors)
    full, _, full_probabilities = evaluate(Classifier(tensors, card), photos)
    figures, _, probabilities = evaluate(Classifier(widened(stored), card), photos)
    recipe = f"catdog train --data PHOTOS {flags(config)}"
    validation = {**card.validation, "accuracy": figures.accuracy, "loss": figures.loss}
    save_model(TRAINED, stored, replace(card, validation=validation, recipe=recipe))
    size = TRAINED.stat().st_size
    if size > LIMIT:
        sys.exit(f"{TRAINED} is {size:,} bytes, more than {LIMIT:,}; train a smaller network.")
    agreement = float((probabilities.argmax(axis=1) == full_probabilities.argmax(axis=1)).mean())
    height, width = card.architecture.image_size
    low, high = figures.accuracy_interval
    text = CARD.format(
        network=_network(config),
        size=size,
        width=width,
        height=height,
        recipe=recipe,
        train=" and ".join(f"{n:,} {name}s" for n, name in zip(card.train_counts, card.classes, strict=True)),
        n=figures.n,
        accuracy=figures.accuracy,
        low=low,
        high=high,
        by_class=_by_class(figures),
        full=full.accuracy,
        agreement=agreement,
        auc=figures.auc,
        ece=figures.ece,
        temperature=card.temperature,
    )
    write_text(TRAINED.with_name("README.md"), text)
    in_8_bits = f"{figures.accuracy:.2%} right (in 32 bits {full.accuracy:.2%}), ECE {figures.ece:.2%}"
    print(f"{TRAINED}: {size:,} bytes, {in_8_bits}")


def _network(config: Config) -> str:
    from catdog.train import build_model

    return "    " + build_model(config, 2).describe().replace("\n", "\n    ")


def _by_class(figures: Evaluation) -> str:
    rows = []
    for i, (name, row) in enumerate(zip(figures.classes, figures.confusion, strict=True)):
        low, high = accuracy_interval(row[i], int(np.sum(row)))
        rows.append(f"| {name} | {row[i] / np.sum(row):.2%} | {low:.1%} to {high:.1%} | {np.sum(row):,} |")
    return "\n".join(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/box.py RUN")
    main(sys.argv[1])
