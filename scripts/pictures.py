"""Draws the pictures in docs/pictures: trains on the drawn set, then predicts drawings that it has not seen.

python scripts/pictures.py [FOLDER]
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from catdog.config import load_config
from catdog.predict import Classifier
from catdog.report import draw_predictions
from catdog.sample import CLASSES, draw
from catdog.train import train

UNSEEN = 10_000_000  # a seed that the training set does not use


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        run = train(load_config(None, {"data": "sample", "out": str(Path(place) / "run")}))
        shutil.copy(run / "curves.png", folder / "curves.png")
        classifier = Classifier.load(run)
        drawings = [draw(CLASSES[i % 2], UNSEEN + i, (256, 256)) for i in range(10)]
        answers = []
        for i, drawing in enumerate(drawings):
            path = Path(place) / f"{i}.png"
            drawing.save(path)
            answers.append(classifier.predict(path))
    draw_predictions([np.asarray(drawing) for drawing in drawings], answers, folder / "predictions.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "pictures")
