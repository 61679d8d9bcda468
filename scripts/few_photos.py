"""What a training on few photos reaches: from the network that comes with catdog, and from new weights.

python scripts/few_photos.py flowers --photos 10 30 80             DIR/<class>/*
python scripts/few_photos.py mine --photos 30 --distorted          each photo distorted twice (scripts/distortions.py)

For each number, and each of some seeds, so many photos of each class, taken at random, are trained on, and others, up
to 100 a class, are answered: by a training as it begins by itself, by one with --start-from none, and, where it knows
the classes, by the network that comes with catdog as it is. Printed are the means of the accuracies, with their 95%
intervals (Student's t over the seeds), and the mean seconds.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from PIL import Image

from benchmarks.results import mean_interval
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.config.toml import load_config
from catdog.data.listing import Listing, list_photos
from catdog.train import train
from catdog.trainer.comparison import as_it_comes
from distortions import DISTORTIONS

_OTHERS = 100  # photos a class that are answered, at most


def cut(photos: Listing, count: int, seed: int, distorted: bool, folder: Path) -> None:
    """Copy `count` photos of each class into train/, and others of them into val/."""
    rng = random.Random(seed)
    ways = [way for name, (_, way) in DISTORTIONS.items() if name != "none"]
    for label, name in enumerate(photos.classes):
        paths = sorted(path for path, of in photos.samples if of == label)
        rng.shuffle(paths)
        for part, some in (("train", paths[:count]), ("val", paths[count : count + _OTHERS])):
            (folder / part / name).mkdir(parents=True)
            for path in map(Path, some):
                place = folder / part / name / path.name
                if distorted:
                    first, second = random.Random(path.name).sample(ways, 2)
                    with Image.open(path) as photo:
                        second(first(photo.convert("RGB"))).convert("RGB").save(place.with_suffix(".png"))
                else:
                    shutil.copyfile(path, place)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--distorted", action="store_true")
    parser.add_argument("--start-from", nargs="+", default=["auto", "none"])
    arguments = parser.parse_args(argv)
    photos = list_photos(arguments.data)
    for count in arguments.photos:
        right, seconds = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as place:
                cut(photos, count, seed, arguments.distorted, Path(place) / "photos")
                for start in arguments.start_from:
                    given = {"data": f"{place}/photos", "out": f"{place}/{start}", "start_from": start, "seed": seed}
                    began = time.perf_counter()
                    run = train(load_config(None, given), log=lambda line: None)
                    seconds[start].append(time.perf_counter() - began)
                    right[start].append(load_model(run / MODEL_FILE)[1].validation["accuracy"])
                for of_it in as_it_comes(list_photos(Path(place) / "photos" / "val")).values():
                    right["as it comes"].append(of_it)
        for start, values in right.items():
            mean = mean_interval(values)
            took = f", {sum(seconds[start]) / arguments.seeds:.0f} s" if start in seconds else ""
            print(
                f"{count:>5} a class, {start}: {mean.middle:.1%} ({mean.low:.1%} to {mean.high:.1%}){took}", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
