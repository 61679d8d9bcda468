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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
BLOCK = 2**20  # bytes that are brought at a time where all that a shard holds will be wanted
_RANGE = 2**24  # bytes of a request, at most, unless one photo has more
_AT_A_TIME = 16  # requests


class Block(NamedTuple):
    """BLOCK bytes of a shard, counted from 0."""

    shard: str
    number: int


class Request(NamedTuple):
    """Bytes of a shard from `start` to `stop`.

    photos: those that lie in them whole, by which they are known to be right. keys: of what they are the bytes.
    """

    shard: str
    start: int
    stop: int
    photos: "Collection[Packed]"
    keys: "Collection[Packed | Block]"


class StoreError(CatdogError):
    """A store that cannot be read, or holds something else than its index says."""


class Store:
    """The packed set at an address, mirrored in the folder `mirror`, whose shards are kept below a limit in bytes.

    sizes: bytes of each shard, by its name, once they are known.
    """

    def __init__(self, mirror: Path, sizes: Mapping[str, int] | None = None) -> None:
        about = json.loads((mirror / STORE_FILE).read_bytes())
        self.mirror, self.url, self.limit = mirror, str(about["url"]), float(about["limit"])
        self._sizes = sizes or {}
        self._lock = threading.Lock()
        self._system: tuple[Any, str] | None = None
        self._pool = ThreadPoolExecutor(_AT_A_TIME)
        self._coming: dict[Packed | Block, Future[None]] = {}
        self._here: set[Block] = set()
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

    def begin(self, photos: Collection["Packed"], blocks: bool = False) -> set["Future[None]"]:
        """Begin to bring those of the photos that are not here or on their way, neighbours in one request.

        blocks: with all that is in the same blocks of the shards, since it will be wanted soon.
        Returns what to wait for until they are all here; that raises StoreError where one cannot be had.
        """
        waiting: set[Future[None]] = set()
        missing: list[Packed] = []
        with self._lock:
            for photo in photos:
                keys: list[Packed | Block] = [photo] if photo in self._coming else [*_blocks_of(photo)]
                waiting.update(self._coming[key] for key in keys if key in self._coming)
                if not all(key in self._here or key in self._coming for key in keys):
                    missing.append(photo)
            for request in self._blocks_around(missing) if blocks else _neighbours(missing):
                future = self._pool.submit(self._bring, request)
                self._coming.update(dict.fromkeys(request.keys, future))
                waiting.add(future)
        return waiting

    def _blocks_around(self, photos: Sequence["Packed"]) -> Iterator["Request"]:
        """Requests for all blocks of the photos that are neither here nor on their way."""
        photos_in: dict[Block, list[Packed]] = {}
        for photo in photos:
            for block in _blocks_of(photo):
                if block not in self._here and block not in self._coming:
                    photos_in.setdefault(block, []).append(photo)
        for run in _runs(photos_in):
            start, size = run[0].number * BLOCK, self._sizes[os.path.basename(run[0].shard)]
            stop = min(start + len(run) * BLOCK, size)
            inside = {photo for block in run for photo in photos_in[block] if _is_between(photo, start, stop)}
            yield Request(run[0].shard, start, stop, inside, run)

    def _bring(self, request: "Request") -> None:
        try:
            if not request.photos or not all(photo.fits(photo.here()) for photo in request.photos):
                self.bring(request)
                with self._lock:
                    self._here.update(key for key in request.keys if isinstance(key, Block))
        finally:
            with self._lock:
                for key in request.keys:
                    self._coming.pop(key, None)

    def bring(self, request: "Request") -> bytes:
        """Copy what is asked for to the mirror; returns it."""
        shard, start, stop = request.shard, request.start, request.stop

        def fault(data: bytes) -> str:
            view = memoryview(data)
            right = all(photo.fits(view[photo.offset - start :][: photo.size]) for photo in request.photos)
            return "" if right else "it has changed since its index was written"

        data = self.read(os.path.basename(shard), start, stop, fault)
        try:
            with open(os.open(shard, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "wb") as file:
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
                self._here = {block for block in self._here if block.shard != str(path)}
                total -= size


def exactly(photos: Sequence["Packed"]) -> Request:
    """What brings photos of one shard, in its order, with what is between them."""
    first, last = photos[0], photos[-1]
    return Request(first.shard, first.offset, last.offset + last.size, photos, photos)


def _neighbours(photos: Sequence["Packed"]) -> Iterator[Request]:
    """Requests for the photos, those in one that lie in one shard with little between them."""
    group: list[Packed] = []
    for photo in sorted(photos, key=lambda photo: (photo.shard, photo.offset)):
        if group:
            first, last = group[0], group[-1]
            far = photo.offset - last.offset - last.size > _GAP or photo.offset + photo.size - first.offset > _RANGE
            if far or photo.shard != first.shard:
                yield exactly(group)
                group = []
        group.append(photo)
    if group:
        yield exactly(group)


def _blocks_of(photo: "Packed") -> list[Block]:
    last = (photo.offset + photo.size - 1) // BLOCK
    return [Block(photo.shard, number) for number in range(photo.offset // BLOCK, last + 1)]


def _runs(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """The blocks in groups that one request brings: those that lie one after the other in a shard."""
    run: list[Block] = []
    for block in sorted(blocks):
        if run and (block != Block(run[-1].shard, run[-1].number + 1) or len(run) == _RANGE // BLOCK):
            yield run
            run = []
        run.append(block)
    if run:
        yield run


def _is_between(photo: "Packed", start: int, stop: int) -> bool:
    return start <= photo.offset and photo.offset + photo.size <= stop


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
