"""Measures how nearly exports answer as `predict` does: ONNX in ONNX Runtime, and the page in Chromium.

    python scripts/exports.py PHOTOS               --run cats-dogs; needs onnxruntime and Pillow
    python scripts/exports.py PHOTOS --seen        the same, given the pixels that the network sees
    python scripts/exports.py PHOTOS --levels      `predict` itself, with a third of the levels off by one
    python scripts/exports.py PHOTOS --page 200    200 of the photos in Chromium; needs playwright

Whole photos are decoded by Pillow for ONNX, and by Chromium for the page, and `predict` reads their files.
"""

import argparse
import base64
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catdog.cli.main import main as catdog
from catdog.data.inputs import photos_of
from catdog.images import decode
from catdog.predict import Classifier

ASK = """async (data) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const start = performance.now();
    const { probabilities, familiarity } = await askFile(new File([bytes], "photo"));
    return [probabilities, familiarity, performance.now() - start];
}"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", metavar="PHOTOS")
    parser.add_argument("--run", default="cats-dogs")
    parser.add_argument("--page", metavar="N", type=int, default=0)
    parser.add_argument("--seen", action="store_true")
    parser.add_argument("--levels", action="store_true")
    arguments = parser.parse_args(argv)
    classifier = Classifier.load(arguments.run)
    paths = [Path(str(path)) for _, path in photos_of([arguments.photos])]
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.page:
            paths = paths[: arguments.page]
            compare("page", classifier, paths, page(arguments.run, Path(folder), paths))
        elif arguments.levels:
            compare("levels", classifier, paths, levels(classifier, paths))
        else:
            compare("onnx", classifier, paths, onnx(arguments.run, Path(folder), paths, arguments.seen))


def compare(name: str, classifier: Classifier, paths: list[Path], answers: Iterator[Any]) -> None:
    """Print how far `answers`, (probabilities, familiarity, milliseconds) of each path, are from those of `predict`."""
    found = list(answers)
    theirs = [classifier.predict(path) for path in paths]
    a = np.array([one[0] for one in found])
    b = np.array([list(one.probabilities.values()) for one in theirs])
    off = np.abs(a - b).max(axis=1)
    print(f"{name}: {len(paths):,} photos, the same answer on {(a.argmax(1) == b.argmax(1)).mean():.2%}")
    near = np.mean(off <= 0.01)
    print(f"  probability: off by {off.mean():.2g} (mean), {off.max():.2g} (most); by 0.01 or less on {near:.2%}")
    if theirs[0].familiarity is not None:
        far = np.abs(np.array([one[1] for one in found]) - [one.familiarity for one in theirs])
        print(f"  familiarity: off by {far.mean():.2g} (mean), {far.max():.2g} (most)")
    times = [one[2] for one in found]
    print(f"  {np.median(times):.0f} ms a photo (median), {min(times):.0f} (least)")


def onnx(run: str, folder: Path, paths: list[Path], seen: bool) -> Iterator[Any]:
    import onnxruntime

    size = Classifier.load(run).card.architecture.image_size if seen else None

    catdog(["export", "--run", run, "--format", "onnx", "--out", str(folder / "a.onnx")])
    session = onnxruntime.InferenceSession(folder / "a.onnx")
    for path in paths:
        photo = decode(path, size) if seen else np.asarray(Image.open(path).convert("RGB"))
        start = time.perf_counter()
        probabilities, *familiarity = session.run(None, {"photos": photo[None]})
        took = 1000 * (time.perf_counter() - start)
        yield probabilities[0], familiarity[0][0] if familiarity else None, took


def levels(classifier: Classifier, paths: list[Path]) -> Iterator[Any]:
    """The answers of `predict` on pixels of which a third, drawn at random, is one level higher or lower."""
    rng = np.random.default_rng(0)
    for path in paths:
        start = time.perf_counter()
        pixels = classifier.decode(path).astype(int)
        changed = np.clip(pixels + rng.choice([-1, 0, 1], pixels.shape, p=[1 / 6, 2 / 3, 1 / 6]), 0, 255)
        (answer,) = classifier.answers(changed.astype(np.uint8)[None])
        yield list(answer.probabilities.values()), answer.familiarity, 1000 * (time.perf_counter() - start)


def page(run: str, folder: Path, paths: list[Path]) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    catdog(["export", "--run", run, "--format", "html", "--out", str(folder / "a.html")])
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        opened = chromium.new_context(offline=True).new_page()
        opened.goto((folder / "a.html").as_uri())
        opened.wait_for_selector("h1")
        for path in paths:
            yield opened.evaluate(ASK, base64.b64encode(path.read_bytes()).decode())


if __name__ == "__main__":
    main()
