"""Which photo files there are, of which class, and in which split: names only, nothing is opened.

A folder of photos is an ImageFolder, `DIR/<class>/*`, or one ImageFolder a split, `DIR/train/<class>/*` and
`DIR/val/<class>/*` and `DIR/test/<class>/*`; `catdog.data.splits.SPLITS` lists the names that splits go by.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from catdog.errors import CatdogError
from catdog.images.packed_files import SET_FILE

if TYPE_CHECKING:
    from catdog.images.packed_paths import PackedFolder

T = TypeVar("T")

# By name alone; what a file holds is found out when it is decoded.
EXTENSIONS = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".ico", ".jp2", ".j2k", ".jpx", ".heic", ".heif", ".avif",
])  # fmt: skip
# What archivers, file servers and Windows leave behind:
_NOT_PHOTOS = frozenset({"__macosx", "@eadir", "thumbs.db", "ehthumbs.db", "desktop.ini", "folder.ini", "picasa.ini"})


@dataclass(frozen=True)
class Listing:
    """The photos of one ImageFolder: `root`, class names in order, and for each photo its path below `root` and class.

    `paths` are sorted by class, then by name; `labels[i]` is the index into `classes` of `paths[i]`.
    """

    root: Path
    classes: tuple[str, ...]
    paths: Sequence[str]
    labels: Sequence[int]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many files of the class folders are left out as no photos by their names, by ending."""

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> str:
        """The path to open for photo `index`."""
        return os.path.join(self.root, self.paths[index])

    @property
    def files(self) -> Sequence[str]:
        """The path to open for each photo."""
        return WhenAsked(len(self), self.path)

    @property
    def samples(self) -> Sequence[tuple[str, int]]:
        """(path, label) of each photo."""
        return WhenAsked(len(self), self._sample)

    def _sample(self, index: int) -> tuple[str, int]:
        return self.path(index), self.labels[index]

    def counts(self) -> list[int]:
        """Photos of each class."""
        found = [0] * len(self.classes)
        for label in self.labels:
            found[label] += 1
        return found

    def select(self, keep: Sequence[bool]) -> "Listing":
        """The photos for which `keep` is true."""
        return replace(
            self,
            paths=[path for path, kept in zip(self.paths, keep, strict=True) if kept],
            labels=[label for label, kept in zip(self.labels, keep, strict=True) if kept],
        )

    def with_classes(self, classes: Sequence[str], whose: str) -> "Listing":
        """The same photos, their labels counted by another order of classes, which `whose` (a phrase) set.

        `classes` may hold more classes than there are here; CatdogError names one that it lacks.
        """
        position = {name: label for label, name in enumerate(classes)}
        if unknown := [name for name in self.classes if name not in position]:
            from catdog.data.names import unknown_class  # which few folders need

            raise unknown_class(self.root / unknown[0], classes, whose)
        labels = [position[self.classes[label]] for label in self.labels]
        return replace(self, classes=tuple(classes), labels=labels)


class WhenAsked(Sequence[T]):
    """`count` items, each made by `item` when it is asked for: a million take no memory."""

    def __init__(self, count: int, item: Callable[[int], T]) -> None:
        self._count, self._item = count, item

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._item(i) for i in range(*index.indices(self._count))]
        return self._item(index)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that people do not see or mean: .DS_Store, ._photo.jpg, __MACOSX, Thumbs.db."""
    return name.startswith(".") or name.lower() in _NOT_PHOTOS


def is_photo_name(name: str) -> bool:
    """Whether a file's name ends as the names of photos do."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def photos_below(folder: str | Path, left_out: Counter[str] | None = None) -> Iterator[str]:
    """Paths below `folder` (relative to it) of all files named like photos, sorted; hidden ones are left out.

    left_out: counts the others, by the ending of their names. A dangling link named like a photo is listed, so that
    decoding can say what is wrong with it.
    """
    for path in files_below(folder):
        if is_photo_name(path):
            yield path
        elif left_out is not None:
            left_out[os.path.splitext(path)[1].lower()] += 1


def files_below(folder: str | Path) -> Iterator[str]:
    """Paths below `folder` (relative to it) of all files but hidden ones, sorted.

    Links to folders are followed; a folder that is met again by a link, or lies above, is passed over.
    """
    if (packed := _packed(folder)) is not None:
        yield from packed.files()
        return
    seen: set[tuple[int, int]] = set()
    for status in map(os.stat, Path(os.path.abspath(folder)).parents):
        seen.add((status.st_dev, status.st_ino))
    waiting = [""]  # the next one last, folders with a slash; no recursion, since they may be thousands deep
    while waiting:
        path = waiting.pop()
        if path and not path.endswith(os.sep):
            yield path
            continue
        here = os.path.join(folder, path)
        with _listing(here):
            status = os.stat(here)
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            folders, files = folders_and_files(here)
            names = [*(name + os.sep for name in folders), *files]
            names.sort(key=lambda name: name.removesuffix(os.sep), reverse=True)
            waiting += [path + name for name in names]


def _packed(folder: str | Path) -> "PackedFolder | None":
    """What `catdog data pack` made, where `folder` is that or leads into it (`catdog.images.packed_paths`)."""
    if os.path.exists(folder) and not os.path.exists(os.path.join(folder, SET_FILE)):
        return None
    from catdog.images.packed_paths import find_folder

    return find_folder(folder)


def is_address(name: str) -> bool:
    """Whether a folder of photos is named by an address, such as s3://bucket/photos, not by a path."""
    return "://" in name


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of that path, on the disk or in a packed set."""
    return os.path.isdir(path) or _packed(path) is not None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or to where one may not look
        return False


@contextmanager
def _listing(folder: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        mend = "move it further up" if error.errno == errno.ENAMETOOLONG else "check it and its permissions"
        place = folder if len(str(folder)) < 999 else f"{folder!s:.200} ..."
        raise CatdogError(f"cannot list the folder {place}: {error.strerror}; {mend}.") from None


def folders_and_files(folder: str | Path) -> tuple[list[str], list[str]]:
    """Names of the folders, and of the files, directly in `folder`, each sorted; hidden ones are left out."""
    found: tuple[list[str], list[str]] = ([], [])
    for name, is_folder in entries_in(folder):
        found[not is_folder].append(name)
    return sorted(found[0]), sorted(found[1])


def entries_in(folder: str | Path) -> Iterator[tuple[str, bool]]:
    """Name of each entry directly in `folder` that is not hidden, in no order, and whether it is a folder."""
    if (packed := _packed(folder)) is not None:
        yield from packed.entries()
        return
    with _listing(folder), os.scandir(folder) as found:
        for entry in found:
            if not is_hidden(entry.name):
                yield entry.name, _is_folder(entry)


def subfolders(folder: str | Path) -> list[str]:
    return folders_and_files(folder)[0]


def list_photos(root: str | Path) -> Listing:
    """The ImageFolder at `root`: each folder directly below it is a class of all photos at any depth below that."""
    root = Path(root)
    require_folder(root)
    classes = tuple(subfolders(root))
    paths: list[str] = []
    labels: list[int] = []
    left_out: Counter[str] = Counter()
    for label, name in enumerate(classes):
        before, folder = len(paths), os.path.join(name, "")
        paths.extend(folder + path for path in photos_below(root / name, left_out))
        labels.extend([label] * (len(paths) - before))
    return Listing(root, classes, paths, labels, left_out)


def require_folder(root: Path) -> None:
    if is_folder(root):
        return
    if not root.exists():
        raise CatdogError(
            f"there is no folder {root}; check the path, or make it with a folder of photos for each class."
        )
    raise CatdogError(f"{root} is a file, not a folder; give the folder that holds a folder of photos for each class.")


def has_photos(root: str | Path) -> bool:
    """Whether any photo lies in a class folder, or a split's class folder, below `root`."""
    root = Path(root)
    return is_folder(root) and any(True for name in subfolders(root) for _ in photos_below(root / name))


@dataclass(frozen=True)
class Skipped:
    """A photo that could not be read, and why."""

    path: str
    reason: str
