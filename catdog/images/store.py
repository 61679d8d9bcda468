"""Brings photos of a packed set in an object store, or on a web server, to the set's mirror on this machine, by fsspec.

The mirror is a folder: store.json, which says what it mirrors; the indexes; and the shards, with holes for what has not
been needed. Whether a photo is there its checksum tells, so that nothing else has to be kept in step.
"""

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog.base.atomic import write_if_other
from catdog.errors import CatdogError
from catdog.images.packed_files import STORE_FILE

if TYPE_CHECKING:
    from catdog.images.packed import Packed

_TRIES = 6
_FAULTS = 3  # whole answers of another content, after which no other is asked for
_DELAY = 0.5  # seconds before the second try, and twice as many before each later one
_TIMEOUT = 30.0  # seconds for one request
_GAP = 2**18  # bytes between two photos, at most, that are rather read than left out
_RANGE = 2**24  # bytes of a request, at most, unless one photo has more
_AT_A_TIME = 16  # requests


class StoreError(CatdogError):
    """A store that cannot be read, or holds something else than its index says."""


class Store:
    """The packed set at an address, mirrored in the folder `mirror`, whose shards are kept below a limit in bytes."""

    def __init__(self, mirror: Path) -> None:
        about = json.loads((mirror / STORE_FILE).read_bytes())
        self.mirror, self.url, self.limit = mirror, str(about["url"]), float(about["limit"])
        self._lock = threading.Lock()
        self._system: tuple[Any, str] | None = None
        self._pool = ThreadPoolExecutor(_AT_A_TIME)
        self._coming: dict[Packed, Future[None]] = {}
        self._written = 0

    def read(self, name: str, start: int = 0, stop: int | None = None, fault: Callable[[bytes], str] = str) -> bytes:
        """The bytes of a file of the set from `start` to `stop`, or all.

        A request is repeated, after longer and longer pauses, where the connection fails or `fault` says what is wrong
        with the answer. Raises StoreError when that does not help.
        """
        place = f"{self.url}/{name}"
        reason, mend, faults = "", "", 0
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_DELAY * 2 ** (attempt - 1))
            try:
                data = self._request(name, start, stop)
            except CatdogError:
                raise
            except FileNotFoundError:
                raise StoreError(
                    f"there is no {place}; check the address, or copy the packed set there, whole."
                ) from None
            except Exception as error:  # of fsspec and of each library below it
                reason, mend = _in_words(error), "check the address, the connection and your access"
                if _is_final(error):
                    break
                continue
            if stop is not None and len(data) > stop - start:
                raise StoreError(f"{place} cannot be read in parts: the server answers more than was asked for.")
            if stop is not None and len(data) < stop - start:
                reason, mend = "the answer was cut off", "check the connection"
            elif found := fault(data):
                reason, mend = found, "copy the packed set there again, whole"
                faults += 1
                if faults == _FAULTS:  # it is not the connection
                    break
            else:
                return data
        raise StoreError(f"cannot read {place}: {reason}; {mend}, and run the same command again.")

    def _request(self, name: str, start: int, stop: int | None) -> bytes:
        with self._lock:
            if self._system is None:
                self._system = _open_system(self.url)
        system, root = self._system
        path = f"{root.rstrip('/')}/{name}"
        limits = {} if stop is None else {"start": start, "end": stop}
        if not system.async_impl:
            return bytes(system.cat_file(path, **limits))
        from fsspec.asyn import sync

        return bytes(sync(system.loop, system._cat_file, path, **limits, timeout=_TIMEOUT))

    def bring_file(self, name: str, fault: Callable[[bytes], str]) -> bytes:
        """Copy a small file of the set to the mirror, unless the one there is the same; returns its bytes."""
        data = self.read(name, fault=fault)
        write_if_other(self.mirror / name, data)
        return data

    def each(self, call: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
        """`call` of each of the numbers, several at a time; the answers in order."""
        return self._pool.map(call, numbers)

    def begin(self, photos: Collection["Packed"]) -> set["Future[None]"]:
        """Begin to bring those of the photos that are not here or on their way, neighbours in one request.

        Returns what to wait for until they are all here; that raises StoreError where one cannot be had.
        """
        with self._lock:
            waiting = {self._coming[photo] for photo in photos if photo in self._coming}
            for group in _neighbours([photo for photo in photos if photo not in self._coming]):
                future = self._pool.submit(self._bring, group)
                self._coming.update(dict.fromkeys(group, future))
                waiting.add(future)
        return waiting

    def _bring(self, group: Sequence["Packed"]) -> None:
        try:
            if not _are_in(group, group[0]._replace(size=_end(group) - group[0].offset).here()):
                self.bring(group)
        finally:
            with self._lock:
                for photo in group:
                    self._coming.pop(photo, None)

    def bring(self, group: Sequence["Packed"]) -> bytes:
        """Copy photos that lie one after the other in a shard to the mirror; returns the bytes from the first on."""
        start, stop = group[0].offset, _end(group)
        name = os.path.basename(group[0].shard)

        def fault(data: bytes) -> str:
            return "" if _are_in(group, data) else "it has changed since its index was written"

        data = self.read(name, start, stop, fault)
        try:
            with open(
                os.open(group[0].shard, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "wb"
            ) as file:
                file.seek(start)
                file.write(data)
            self._trim(len(data))
        except OSError as error:
            raise CatdogError(
                f"cannot keep what was read of {self.url} in {self.mirror}: {error.strerror}; make room, or give "
                "another --cache."
            ) from None
        return data

    def _trim(self, added: int) -> None:
        """Remove the shards written longest ago until the mirror is below its limit; now and then, since it lists."""
        with self._lock:
            self._written += added
            if self._written < self.limit / 20:
                return
            self._written = 0
            shards = []
            for path in self.mirror.glob("*.tar"):
                with contextlib.suppress(OSError):  # another process has removed it
                    status = path.stat()
                    shards.append((status.st_mtime, 512 * getattr(status, "st_blocks", status.st_size // 512), path))
            total = sum(size for _, size, _ in shards)
            for _, size, path in sorted(shards):
                if total <= self.limit:
                    break
                path.unlink(missing_ok=True)
                total -= size


def _end(group: Sequence["Packed"]) -> int:
    return group[-1].offset + group[-1].size


def _are_in(group: Sequence["Packed"], data: bytes) -> bool:
    """Whether `data`, the bytes of a shard from the first photo of the group on, hold all its photos."""
    view, first = memoryview(data), group[0].offset
    return all(photo.fits(view[photo.offset - first :][: photo.size]) for photo in group)


def _neighbours(photos: Sequence["Packed"]) -> Iterator[list["Packed"]]:
    """The photos in groups that one request brings: of one shard, with little between them."""
    group: list[Packed] = []
    for photo in sorted(photos, key=lambda photo: (photo.shard, photo.offset)):
        if group:
            far = photo.offset - _end(group) > _GAP or photo.offset + photo.size - group[0].offset > _RANGE
            if far or photo.shard != group[0].shard:
                yield group
                group = []
        group.append(photo)
    if group:
        yield group


def _open_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path there."""
    try:
        from fsspec.core import url_to_fs

        # Bytes as they are: a compressed answer has others than the range that was asked for.
        options = {"headers": {"Accept-Encoding": "identity"}} if url.startswith("http") else {}
        system, path = url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        scheme = url.partition(":")[0]
        if isinstance(error, ValueError):
            raise StoreError(
                f"{url} is no address that fsspec knows ({error}); give s3://, gs:// or https://."
            ) from None
        from catdog.base.extras import how_to_install

        install = "pip install gcsfs" if scheme in ("gs", "gcs") else how_to_install("remote")
        raise StoreError(f"reading {scheme}:// needs the extra [remote] of catdog: {install}") from None
    return system, path


def _is_final(error: Exception) -> bool:
    """Whether another try would fail too: no access, or a request that the server refuses."""
    status = getattr(error, "status", 0)
    refused = 400 <= status < 500 and status not in (408, 429)
    return refused or isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError"


def _in_words(error: Exception) -> str:
    """What went wrong, in a few words on one line."""
    if type(error).__name__ in ("FSTimeoutError", "TimeoutError"):
        return f"no answer for {_TIMEOUT:g} seconds"
    text = re.sub(r"\s+", " ", str(error)).strip()[:200]
    return text or type(error).__name__
