"""Where a training reads and writes: settled, and looked at, before anything is read or written there."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from catdog.base.atomic import is_temporary
from catdog.base.text import in_shell
from catdog.config.settings import Config
from catdog.data.listing import has_photos
from catdog.data.splits import SAMPLE
from catdog.errors import CatdogError


def settle(config: Config, log: Callable[[str], None]) -> Config:
    """The configuration with every default that depends on the moment filled in, so that it can be repeated."""
    photos, run = config.photos, config.run
    if photos.data == "data" and not has_photos("data"):
        log(
            "data/ holds no photos, so this trains on a set of drawn cats and dogs. "
            "For your own, put photos in data/cat/ and data/dog/, or give --data DIR."
        )
        photos = replace(photos, data=SAMPLE)
    elif photos.data != SAMPLE:
        photos = replace(photos, data=os.path.abspath(photos.data))
    if not run.out:
        run = replace(run, out=str(unused(Path("runs") / time.strftime("%Y-%m-%d-%H%M%S"))))
    return replace(config, photos=photos, run=run)


def settle_and_check(config: Config, log: Callable[[str], None]) -> Config:
    """`settle`; CatdogError where the run folder is used already, or it or the cache is where it would do harm."""
    config = settle(config, log)
    check_places(config)
    check_unused(Path(config.run.out))
    return config


def check_places(config: Config) -> None:
    """Raise CatdogError for a run folder or a cache in a place where it would do harm."""
    run = Path(config.run.out)
    if ".." in run.parts:
        raise CatdogError(f"out (--out) must not hold .., as {run} does; give the folder's own path.")
    if config.photos.data == SAMPLE:
        return
    photos = Path(config.photos.data).resolve()
    for name, place in (("out", config.run.out), ("cache", config.photos.cache)):
        inside = Path(place).resolve()
        if (name == "out" or place not in ("auto", "none")) and (photos == inside or photos in inside.parents):
            raise CatdogError(
                f"{name} (--{name}) {place} lies in the folder of photos {config.photos.data}, where it would be taken "
                "for a class; give a folder outside."
            )


def check_unused(run: Path) -> None:
    """Raise CatdogError where something is at the place of a new run folder."""
    if run.exists() and (not run.is_dir() or any(not is_temporary(path) for path in run.iterdir())):
        resumed = f"catdog train --resume {in_shell(run)}"
        raise CatdogError(f"the run folder {run} exists; give another --out, or go on with it by `{resumed}`.")


def unused(path: Path) -> Path:
    """`path`, or where that exists, it with the first number behind it that makes a new one."""
    count, candidate = 1, path
    while candidate.exists():
        count += 1
        candidate = path.with_name(f"{path.name}-{count}")
    return candidate
