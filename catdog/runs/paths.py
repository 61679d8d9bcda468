"""Where a training reads and writes: settled, looked at and claimed before anything is read or written there."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from catdog.base.atomic import is_temporary
from catdog.base.locks import unlock
from catdog.base.signals import NOTHING_TRAINED, Interrupted
from catdog.base.work_folder import make_and_lock
from catdog.checkpoint.model_file import STATE_FILE
from catdog.config.settings import Config
from catdog.data.listing import has_photos, is_address
from catdog.data.splits import SAMPLE, whole_place
from catdog.errors import CatdogError
from catdog.runs.folder import RunFolder


class NewRunFolder(RunFolder):
    """The folder of a new training, which must not be there yet, or be empty; `path` None takes one by the time.

    It is claimed before anything else is done. Where its training ends before the first checkpoint, what was made of it
    is removed again.
    """

    by_time = "%Y-%m-%d-%H%M%S"  # the name in runs/
    kept_from: tuple[str, ...] = (STATE_FILE, "folds/*.safetensors")  # the files, from one of which on it is kept
    before: tuple[str, ...] = ("config.toml", "skipped.csv", "train.log")  # what may be written before that

    def __init__(self, path: Path | None, log: Callable[[str], None] = print) -> None:
        super().__init__(path or Path("runs") / time.strftime(self.by_time), log)
        self._is_given = path is not None
        self._made: list[Path] = []

    def _claim(self) -> None:
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        if not self._is_given:
            self.path = _make_numbered(self.path)
        try:
            self._lock = make_and_lock(self.path)
        except OSError:
            _remove(missing)
            raise
        if not all(map(is_temporary, self.path.iterdir())):
            unlock(self._lock)
            has_begun = any((self.path / name).exists() for name in self.marks)
            resume = f", or go on with it: {self.resume_command}" if has_begun else "."
            raise CatdogError(f"the {self.kind} {self.path} exists and is not empty; give another --out{resume}")
        self._made = missing if self._is_given else [self.path, *missing[1:]]

    def _is_kept(self) -> bool:
        return any(True for pattern in self.kept_from for _ in self.path.glob(pattern))

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or self._is_kept():
            super().__exit__(kind, error, traceback)
            return
        with contextlib.suppress(OSError):
            for name in self.before:
                (self.path / name).unlink(missing_ok=True)
        _remove(self._made)
        unlock(self._lock)
        if isinstance(error, Interrupted):
            error.advice = NOTHING_TRAINED


def _make_numbered(path: Path) -> Path:
    """Make the folder `path`, or where that is there, the first of `path`-2, `path`-3, ... that is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for count in itertools.count(1):
        folder = path if count == 1 else path.with_name(f"{path.name}-{count}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
    return folder


def _remove(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, as far as they are empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextlib.contextmanager
def new_run(
    config: Config, log: Callable[[str], None], kind: type[NewRunFolder] = NewRunFolder
) -> Iterator[tuple[Config, RunFolder]]:
    """Claim the folder of a new training; yields the configuration with every default filled in, and the folder.

    Raises CatdogError where the folder is used already, or it or the cache is where it would do harm.
    """
    config = settled(config, log)
    folder = kind(Path(config.run.out) if config.run.out else None, log)
    check_places(config, folder.path)
    with folder:
        yield replace(config, run=replace(config.run, out=str(folder.path))), folder


def settled(config: Config, log: Callable[[str], None]) -> Config:
    """`config` with the photos and the network that it starts from settled; log: given lines on what was left open."""
    photos = config.photos
    if photos.data == "data" and not has_photos("data"):
        log(
            "data/ holds no photos, so this trains on a set of drawn cats and dogs. "
            "For your own, put photos in data/cat/ and data/dog/, or give --data DIR."
        )
        photos = replace(photos, data=SAMPLE)
    else:
        photos = replace(photos, data=whole_place(photos.data))
    config = replace(config, photos=photos)
    if config.model.start_from != "none":
        from catdog.runs.start import choose_start  # and what of the configuration comes with it

        left_open, config = config.model.start_from == "auto", choose_start(config)
        if left_open and config.model.start_from != "none":
            log(
                "The photos are few, so this starts from the network that comes with catdog, which has learned from "
                "many photographs. To begin with new weights, give --start-from none."
            )
    return config


def check_places(config: Config, run: Path) -> None:
    """Raise CatdogError for a run folder or a cache in a place where it would do harm."""
    if ".." in run.parts:
        raise CatdogError(f"out (--out) must not hold .., as {run} does; give the folder's own path.")
    if config.photos.data == SAMPLE or is_address(config.photos.data):
        return
    photos = Path(config.photos.data).resolve()
    for name, place in (("out", str(run)), ("cache", config.photos.cache)):
        inside = Path(place).resolve()
        if (name == "out" or place not in ("auto", "none")) and (photos == inside or photos in inside.parents):
            raise CatdogError(
                f"{name} (--{name}) {place} lies in the folder of photos {config.photos.data}, where it would be taken "
                "for a class; give a folder outside."
            )
