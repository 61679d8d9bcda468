"""`catdog data fetch`: downloads public photographs of cats and dogs and lays them out as a folder to train on."""

import contextlib
import gzip
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from catdog.base.locks import Held, unlock
from catdog.base.text import many
from catdog.base.work_folder import make_and_lock
from catdog.errors import CatdogError
from catdog.tools.dataset.download import download

CATSDOGS = (
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip"
)
CATSDOGS_SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
_DAMAGED = (
    *(tarfile.TarError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error),
    *(EOFError, RuntimeError, FileExistsError),  # cut off, encrypted, a name that is there twice
)
LARGEST_FILE = 64 * 2**20  # limits on what an archive may unpack to: bytes of one file, of all, number of files
LARGEST_ALL = 4 * 2**30
MOST_FILES = 50_000

_PETS_README = """# The Oxford-IIIT Pet Dataset

{train} photographs of cats and dogs in train/ and {test} in test/: the official split trainval and test, laid out by
`catdog data fetch pets`. The photographs are as they were published.

- Source: https://www.robots.ox.ac.uk/~vgg/data/pets/
- Licence: Creative Commons Attribution-ShareAlike 4.0 International, https://creativecommons.org/licenses/by-sa/4.0/.
  The copyright remains with the original owners of the photographs.
- To be cited as: O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar: Cats and Dogs. IEEE Conference on Computer
  Vision and Pattern Recognition, 2012.
- Archives, with their MD5 checksums:
{sources}
"""
_CATSDOGS_README = """# Kaggle Cats and Dogs Dataset, from Microsoft

{cat} photographs of cats in cat/ and {dog} of dogs in dog/, laid out by `catdog data fetch catsdogs`. The files are as
they were published: some, such as cat/666.jpg and dog/11702.jpg, are broken. Training skips those, and
`catdog data check` lists them.

- Source: https://www.microsoft.com/en-us/download/details.aspx?id=54765
- Licence: Microsoft's own (MSR-LA), in the file beside this one. The photographs were given by Petfinder.com.
- To be cited as: J. Elson, J. R. Douceur, J. Howell, J. Saul: Asirra: A CAPTCHA that Exploits Interest-Aligned Manual
  Image Categorization. ACM Conference on Computer and Communications Security, 2007.
- Archive, with its SHA-256 checksum:
{sources}
"""


def fetch(name: str, folder: Path) -> str:
    """Download the data set `name` ("pets", "catsdogs") into `folder`; returns a sentence on what was downloaded.

    The folder appears complete or not at all: archives and unpacked files are in .NAME.download beside it until then,
    from which an interrupted download is resumed. Raises CatdogError where `folder` is not empty or cannot be written,
    and for a failed download or an unexpected archive.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CatdogError(f"{folder} exists and is not an empty folder; give another folder to fetch into.")
    work = folder.absolute().parent / f".{folder.absolute().name}.download"
    unpacked = work / "unpacked"
    whole = unpacked / "whole"
    try:
        handle = make_and_lock(work)
        try:
            shutil.rmtree(unpacked, ignore_errors=True)
            whole.mkdir(parents=True)
            summary = {"pets": _pets, "catsdogs": _catsdogs}[name](work, whole)
            if folder.exists():
                folder.rmdir()
            whole.rename(folder)
            shutil.rmtree(work, ignore_errors=True)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty if archives, or parts of them, are left for the next call
                work.rmdir()
            unlock(handle)
    except Held:
        raise CatdogError(
            f"another process is fetching into {folder}; wait for it, or give another folder to fetch into."
        ) from None
    except OSError as error:
        raise CatdogError(
            f"cannot fetch into {folder}: {error.strerror or error}; make room, or give another folder."
        ) from None
    return f"{summary} in {folder}; README.md there says where they are from, and on what terms."


def _pets(work: Path, whole: Path) -> str:
    # torchvision's URLs, checksums, split and labels; the archives are downloaded and unpacked here, because its own
    # download cannot be resumed, and it takes an interrupted unpacking for a complete one.
    from torchvision.datasets import OxfordIIITPet

    archives = [work / url.rsplit("/", 1)[-1] for url, _ in OxfordIIITPet._RESOURCES]
    for archive, (url, md5) in zip(archives, OxfordIIITPet._RESOURCES, strict=True):
        download(url, archive, "md5", md5)
    base = whole.parent / "oxford-iiit-pet"  # where torchvision looks for it
    for kind in ("images", "annotations"):
        (base / kind).mkdir(parents=True)
    for archive in archives:
        _unpack(archive, re.compile(r"(images)/([\w-]+\.jpg)|(annotations)/(trainval\.txt|test\.txt)", re.ASCII), base)
    counts = {}
    for official, split in (("trainval", "train"), ("test", "test")):
        try:
            pets = OxfordIIITPet(base.parent, official, target_types="binary-category")
            for label in pets.bin_classes:
                (whole / split / label.lower()).mkdir(parents=True)
            for path, label in zip(pets._images, pets._bin_labels, strict=True):
                os.rename(base / "images" / path.name, whole / split / pets.bin_classes[label].lower() / path.name)
        except (FileNotFoundError, ValueError, IndexError) as error:
            raise CatdogError(f"the archives of the pets are not laid out as they used to be ({error}).") from None
        counts[split] = len(pets)
    sources = "\n".join(f"  - {url} {md5}" for url, md5 in OxfordIIITPet._RESOURCES)
    (whole / "README.md").write_text(_PETS_README.format(**counts, sources=sources), encoding="utf-8")
    return f"{many(counts['train'], 'photo')} to train on and {counts['test']:,} to test with"


def _catsdogs(work: Path, whole: Path) -> str:
    archive = work / CATSDOGS.rsplit("/", 1)[-1]
    download(CATSDOGS, archive, "sha256", CATSDOGS_SHA256)
    for name in ("cat", "dog"):
        (whole / name).mkdir()
    _unpack(archive, re.compile(r"PetImages/(Cat|Dog)/(\d+\.jpg)", re.ASCII), whole)
    _unpack(archive, re.compile(r"()([^/]*(?:readme|MSR-LA)[^/]*\.(?:txt|docx))", re.IGNORECASE), whole)
    counts = {name: len(os.listdir(whole / name)) for name in ("cat", "dog")}
    if not all(counts.values()):
        raise CatdogError(
            f"{archive.name} is not laid out as it used to be: it holds no PetImages/Cat or PetImages/Dog."
        )
    sources = f"  - {CATSDOGS} {CATSDOGS_SHA256}"
    (whole / "README.md").write_text(_CATSDOGS_README.format(**counts, sources=sources), encoding="utf-8")
    return f"{many(counts['cat'], 'photo')} of cats and {counts['dog']:,} of dogs, some of them known to be broken,"


def _unpack(archive: Path, wanted: re.Pattern[str], into: Path) -> None:
    """Unpack the files of `archive` whose whole names match `wanted` to into/<folder>/<name>, the folder in lower case.

    `wanted` has pairs of groups, (folder)/(name), without slashes: so no name in an archive can point elsewhere.
    """
    count = total = 0
    try:
        for name, size, open_file in _files_in(archive):
            match = wanted.fullmatch(name.replace("\\", "/").removeprefix("./"))
            if match is None:
                continue
            count, total = count + 1, total + size
            if size > LARGEST_FILE or total > LARGEST_ALL or count > MOST_FILES:
                raise CatdogError(f"{archive.name} unpacks to far more than it should, and is left alone.")
            below, file_name = (group for group in match.groups() if group is not None)
            with open_file() as stream, open(into / below.lower() / file_name, "xb") as file:
                shutil.copyfileobj(stream, file)
    except _DAMAGED as error:
        raise CatdogError(f"{archive.name} is damaged ({error}); remove {archive} and fetch it again.") from None


def _files_in(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, size in bytes and opener of each regular file in a zip or tar archive: no links, no devices."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: zipped.open(info)  # type: ignore[misc]
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isreg():
                    yield member.name, member.size, lambda member=member: tar.extractfile(member)  # type: ignore[misc]
