"""Folders of photos made for a measurement, in a temporary folder, of links to the user's: those are not written to."""

import functools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Problem

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Sizes:
    """How much is measured; less for a trial."""

    photos: int = 0  # of the training photos, with as large a share of the others; 0: all
    epochs: int = 10
    native_copies: int = 5
    photos_to_list: int = 1_000_000
    scaling: tuple[int, ...] = (1000, 4000, 16000)


TRIAL = Sizes(photos=400, epochs=1, native_copies=1, photos_to_list=2000, scaling=(100, 200, 400))


@dataclass(frozen=True)
class Place:
    """The user's photos (`data`: train/ and val/; `native`: class folders) and a temporary folder to work in."""

    data: Path
    native: Path
    work: Path
    sizes: Sizes

    def fresh(self) -> "tempfile.TemporaryDirectory[str]":
        """A new empty folder for one measurement."""
        return tempfile.TemporaryDirectory(dir=self.work)

    def photos(self) -> Path:
        """The folder with train/ and val/ that is trained on."""
        return self.subset(self.sizes.photos) if self.sizes.photos else self.data

    def subset(self, count: int) -> Path:
        """A folder with links to `count` photos of train/, as many of each class, and as large a share of val/."""
        return _subset(self.data, self.work, count)

    def repeated_native(self) -> Path:
        """A folder whose train/ holds each native photo `native_copies` times, and whose val/ one in ten once."""
        return _repeated(self.native, self.work, self.sizes.native_copies)

    def million(self) -> Path:
        """A folder with `photos_to_list` links to a few of the native photos, in class folders, without splits."""
        return _many(self.native, self.work, self.sizes.photos_to_list)


def require_photos(data: Path | None, native: Path | None) -> tuple[Path, Path]:
    """The two folders as whole paths; Problem where one is not as it must be."""
    if data is None or native is None:
        raise Problem("give photos to measure with: --data DIR, with train/ and val/, and --native DIR, of large ones.")
    for name, root in (("--data", data / "train"), ("--data", data / "val"), ("--native", native)):
        if len(_classes(root)) < 2:
            raise Problem(f"{name}: {root} must hold at least two class folders of photos; check the path.")
    return data.resolve(), native.resolve()


def _classes(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_file())


@functools.cache
def _subset(data: Path, work: Path, count: int) -> Path:
    root = work / f"subset-{count}"
    available = sum(len(_files(folder)) for folder in _classes(data / "train"))
    if count > available:
        raise Problem(f"--data: {data} holds {available} photos in train/, and {count} are to be measured.")
    for split in SPLITS:
        folders = _classes(data / split)
        for number, folder in enumerate(folders):
            files = _files(folder)
            wanted = (count + number) // len(folders) if split == "train" else -(-len(files) * count // available)
            new = root / split / folder.name
            new.mkdir(parents=True)
            for file in files[:wanted]:
                (new / file.name).symlink_to(file)
    return root


@functools.cache
def _repeated(native: Path, work: Path, copies: int) -> Path:
    root = work / "native"
    for folder in _classes(native):
        for split in SPLITS:
            (root / split / folder.name).mkdir(parents=True)
        for number, file in enumerate(_files(folder)):
            for copy in range(copies):
                (root / "train" / folder.name / f"{file.stem}-{copy}{file.suffix}").symlink_to(file)
            if number % 10 == 0:
                (root / "val" / folder.name / file.name).symlink_to(file)
    return root


@functools.cache
def _many(native: Path, work: Path, count: int) -> Path:
    """Hard links to copies, since symbolic ones take a file each and some file systems have too few."""
    root, originals = work / "many", work / "originals"
    originals.mkdir()
    folders = _classes(native)
    for number, folder in enumerate(folders):
        (root / folder.name).mkdir(parents=True)
        copies = [Path(shutil.copy(file, originals / f"{folder.name}-{file.name}")) for file in _files(folder)[:300]]
        for i in range((count + number) // len(folders)):
            name = root / folder.name / f"{i:07}.jpg"
            os.link(copies[i % len(copies)], name)
    return root
