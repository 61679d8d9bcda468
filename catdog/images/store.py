"""Brings photos of a packed set in an object store, or on a web server, to the set's mirror on this machine.

The mirror is a folder: store.json, which says what it mirrors; the indexes; and the shards, with holes for what has not
been needed. Whether a photo is there its checksum tells, so that nothing else has to be kept in step.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from catdog.base.atomic import write_if_other
from catdog.base.daemon_threads import DaemonThreads
from catdog.errors import CatdogError
from catdog.images.address import AT_A_TIME, Address
from catdog.images.packed_files import SET_FILE, STORE_FILE

if TYPE_CHECKING:
    from catdog.images.packed import Packed

_GAP = 2**18  # bytes between two photos, at most, that are rather read than left out
BLOCK = 2**20  # bytes that are brought at a time where all that a shard holds will be wanted
_RANGE = 2**24  # bytes of a request, at most, unless one photo has more
ELSEWHERE = "give another cache folder: --cache DIR, or XDG_CACHE_HOME where that is not given"


class Block(NamedTuple):
    """BLOCK bytes of a shard, counted from 0."""

    shard: str
    number: int


class Request(NamedTuple):
    """Bytes of a shard from `start` to `stop`.

    photos: those that lie in them whole, by which they are known to be right. blocks: which they are, where whole
    blocks were asked for.
    """

    shard: str
    start: int
    stop: int
    photos: "Collection[Packed]"
    blocks: Collection[Block] = ()


class Store:
    """The packed set at an address, mirrored in the folder `mirror`, whose shards are kept below a limit in bytes.

    sizes: bytes of each shard, by its name, once they are known.
    """

    def __init__(self, mirror: Path, sizes: Mapping[str, int] | None = None) -> None:
        about = json.loads((mirror / STORE_FILE).read_bytes())
        self.mirror, self.url, self.limit = mirror, str(about["url"]), float(about["limit"])
        self._sizes = sizes or {}
        self._lock = threading.Lock()
        self._address = Address(self.url)
        self._pool = DaemonThreads(AT_A_TIME)
        self._coming: dict[Packed | Block, Future[None]] = {}
        self._here: dict[str, tuple[int, set[Block]]] = {}  # by shard: the file's number, and what is in it
        self._written = 0

    def bring_file(self, name: str, fault: Callable[[bytes], str] = lambda data: "") -> bytes:
        """Copy a small file of the set to the mirror, unless the one there is the same; returns its bytes."""
        data = self._address.read(name, fault=fault)
        make_mirror(self.mirror, self.url, self.limit)  # somebody may have cleared the cache
        write_if_other(self.mirror / name, data, ELSEWHERE)
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
            self._forget_removed({photo.shard for photo in photos})
            for photo in photos:
                keys: list[Packed | Block] = [photo] if photo in self._coming else [*_blocks_of(photo)]
                waiting.update(self._coming[key] for key in keys if key in self._coming)
                if not all(key in self._coming or self._is_here(key) for key in keys):
                    missing.append(photo)
            for request in self._blocks_around(missing) if blocks else _neighbours(missing):
                future = self._pool.submit(self._bring, request)
                self._coming.update(dict.fromkeys(request.blocks or request.photos, future))
                waiting.add(future)
        return waiting

    def _blocks_around(self, photos: Sequence["Packed"]) -> Iterator["Request"]:
        """Requests for all blocks of the photos that are neither here nor on their way."""
        photos_in: dict[Block, list[Packed]] = {}
        for photo in photos:
            for block in _blocks_of(photo):
                if block not in self._coming and not self._is_here(block):
                    photos_in.setdefault(block, []).append(photo)
        for run in _runs(photos_in):
            start, size = run[0].number * BLOCK, self._sizes[os.path.basename(run[0].shard)]
            stop = min(start + len(run) * BLOCK, size)
            inside = {photo for block in run for photo in photos_in[block] if _is_between(photo, start, stop)}
            yield Request(run[0].shard, start, stop, inside, run)

    def _bring(self, request: "Request") -> None:
        try:
            missing = [photo for photo in request.photos if not photo.fits(photo.here())]
            if not request.blocks:
                for part in _neighbours(missing):
                    self.bring(part)
            elif missing or not request.photos:
                self.bring(request)
                with self._lock, contextlib.suppress(FileNotFoundError):  # another process has removed it
                    self._forget_removed({request.shard})
                    number = os.stat(request.shard).st_ino
                    self._here.setdefault(request.shard, (number, set()))[1].update(request.blocks)
        except OSError as error:
            raise CatdogError(f"cannot read {request.shard}: {error.strerror}; {ELSEWHERE}.") from None
        finally:
            with self._lock:
                for key in request.blocks or request.photos:
                    self._coming.pop(key, None)

    def _is_here(self, block: "Packed | Block") -> bool:
        return block.shard in self._here and block in self._here[block.shard][1]

    def _forget_removed(self, shards: set[str]) -> None:
        """Forget the blocks of shards that another process has removed, or made again with less in them."""
        for shard in shards & self._here.keys():
            number, blocks = self._here[shard]
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(shard)
                # A new file may have been given the number of the one before.
                if status.st_ino == number and bytes_on_disk(status) >= (len(blocks) - 1) * BLOCK:
                    continue
            del self._here[shard]

    def bring(self, request: "Request") -> bytes:
        """Copy what is asked for to the mirror; returns it."""
        shard, start, stop = request.shard, request.start, request.stop

        def fault(data: bytes) -> str:
            view = memoryview(data)
            right = all(photo.fits(view[photo.offset - start :][: photo.size]) for photo in request.photos)
            return "" if right else "it has changed since its index was written"

        data = self._address.read(os.path.basename(shard), start, stop, fault)
        try:
            if not (self.mirror / SET_FILE).exists():
                self.bring_file(SET_FILE)
            with open(os.open(shard, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "wb") as file:
                file.seek(start)
                file.write(data)
            self._trim(len(data))
        except OSError as error:
            raise CatdogError(
                f"cannot write {error.filename or shard}, what was read of {self.url}: {error.strerror}; make room, "
                f"or {ELSEWHERE}."
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
                    shards.append((status.st_mtime, bytes_on_disk(status), path))
            total = sum(size for _, size, _ in shards)
            for _, size, path in sorted(shards):
                if total <= self.limit:
                    break
                path.unlink(missing_ok=True)
                self._here.pop(str(path), None)
                total -= size


def make_mirror(mirror: Path, url: str, limit: float) -> None:
    """Make the folder `mirror`, unless it is there, with the file that says what it mirrors.

    limit: bytes that its shards may take. Raises CatdogError where it cannot be made.
    """
    try:
        mirror.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatdogError(f"cannot make the folder {mirror}: {error.strerror}; {ELSEWHERE}.") from None
    write_if_other(mirror / STORE_FILE, json.dumps({"url": url, "limit": limit}).encode(), ELSEWHERE)


def bytes_on_disk(status: os.stat_result) -> int:
    """What a file takes, without its holes; on Windows, which does not say that, its length."""
    return 512 * getattr(status, "st_blocks", -(-status.st_size // 512))


def exactly(photos: Sequence["Packed"]) -> Request:
    """What brings photos of one shard, in its order, with what is between them."""
    first, last = photos[0], photos[-1]
    return Request(first.shard, first.offset, last.offset + last.size, photos)


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
