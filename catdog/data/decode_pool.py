"""Decoding in parallel: processes, one a core, since threads would wait for each other at Python's lock."""

import contextlib
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from catdog.architecture import Resize
from catdog.base.threads import thread_count
from catdog.images.decoder import FileReport, decode_files

if TYPE_CHECKING:
    from catdog.data.decode_process import DecodeProcess


_LEAST = 1000  # photos for which it pays to start processes: each needs some 0.2 s
PHOTOS_IN_A_TASK = 64  # photos that a process decodes in a turn, at most
_TASK_BYTES = 2**26  # and bytes of their pixels
_TURN = 0.2  # seconds after which one who waits for photos of a store looks whether they are still wanted


@dataclass(frozen=True)
class DecodedPart:
    """What came of some photos in a row, `rows` of those asked for.

    pixels: uint8, n x 3 x H x W, a row for each of them. reasons: row -> why that photo cannot be read, in a sentence
    that names it. sizes: (height, width) of each photo itself, (0, 0) of one that cannot be read.
    """

    rows: range
    pixels: np.ndarray
    reasons: dict[int, str]
    sizes: list[tuple[int, int]]


class DecodePool:
    """Decodes photos to `size` (height, width), by `workers` processes at a time; few photos by threads of this one.

    resize: as for `catdog.images.decode`. workers: 0 for as many as `catdog.base.threads` says.

    `expected`: how many photos are to come, where that is known; processes are started where there are a thousand, or
    when so many have come. There are never more than two a core. They end with `close`, or with this object, or with
    this process, however that ends.
    """

    def __init__(self, size: tuple[int, int], workers: int = 0, expected: int = 0, resize: Resize = "squash") -> None:
        workers = workers or thread_count()[0]
        self.size, self.resize = size, resize
        self.task = max(1, min(PHOTOS_IN_A_TASK, _TASK_BYTES // (3 * size[0] * size[1])))
        self.closed = False
        from catdog.base.cpus import usable_cpus

        can_start = workers > 1 and bool(sys.executable)
        self._to_start = min(workers, 2 * usable_cpus()[0]) if can_start else 0
        self._expected, self._asked = expected, 0
        self._starting = threading.Lock()
        self._idle: deque[DecodeProcess] = deque()
        self._processes: list[DecodeProcess] = []
        self._threads = ThreadPoolExecutor(max(1, workers))
        self._ahead = 2 * workers  # parts that are begun before they are waited for
        self.close_processes = weakref.finalize(self, _end_all, self._processes)

    def decode_all(self, paths: Sequence[str], into: np.ndarray | None = None, task: int = 0) -> Iterator[DecodedPart]:
        """Decode all of `paths`, all workers at once; what came of them part by part, in order.

        into: uint8, len(paths) x 3 x H x W, contiguous, to be filled; None makes a new array for each part, of which a
        few are in memory at a time. task: photos decoded in a turn; 0 chooses. Where the iteration is given up, no more
        photos are begun.
        """
        task = task or self.task
        begin_reading = _reader_of(paths)
        coming: deque[Future[DecodedPart]] = deque()
        try:
            for start in range(0, len(paths), task):
                rows = range(start, min(start + task, len(paths)))
                shape = (len(rows), 3, *self.size)
                pixels = np.empty(shape, np.uint8) if into is None else into[start : rows.stop]
                part = paths[start : rows.stop]
                arriving = begin_reading(part) if begin_reading else ()
                coming.append(self._threads.submit(self._decode_part, part, pixels, rows, arriving))
                if len(coming) > self._ahead:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()

    def close(self) -> None:
        """End the processes; whoever waits for one gets what there is."""
        with self._starting:
            self.closed = True
        self.close_processes()
        self._threads.shutdown(cancel_futures=True)

    def __enter__(self) -> "DecodePool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _decode_part(
        self, paths: Sequence[str], into: np.ndarray, rows: range, arriving: Sequence[Future[None]]
    ) -> DecodedPart:
        while wait(arriving, _TURN).not_done:
            if self.closed:
                raise CancelledError
        for photos in arriving:
            photos.result()
        reasons, sizes = self._decode(paths, into)
        return DecodedPart(rows, into, {rows[position]: reason for position, reason in reasons.items()}, sizes)

    def _decode(self, paths: Sequence[str], into: np.ndarray) -> FileReport:
        self._start(len(paths))
        try:
            process = self._idle.pop()
        except IndexError:
            return decode_files(paths, into, self.resize, lambda: self.closed)
        try:
            answer = process.decode(paths, into)
        except (OSError, ValueError):  # it was killed, perhaps for the memory it took: this process goes on without it
            return decode_files(paths, into, self.resize, lambda: self.closed)
        self._idle.append(process)
        return answer

    def _start(self, asked: int) -> None:
        """Start the processes, once, if enough photos are expected or have been asked for."""
        with self._starting, contextlib.suppress(OSError):  # the system may allow no more processes
            self._asked += asked
            if max(self._expected, self._asked) < _LEAST or self.closed:
                return
            to_start, self._to_start = self._to_start, 0
            if to_start:
                from catdog.data.decode_process import DecodeProcess  # which few photos do without
            for _ in range(to_start):
                self._processes.append(DecodeProcess(self.size, self.resize))
                self._idle.append(self._processes[-1])


def _end_all(processes: "Sequence[DecodeProcess]") -> None:
    for process in processes:
        process.end()


def _reader_of(paths: Sequence[str]) -> "Callable[[Sequence[str]], list[Future[None]]] | None":
    """What begins to bring some of the photos to this machine, where they lie in a store; else None."""
    if not paths or os.path.exists(paths[0]):
        return None
    from catdog.images import packed_paths

    return packed_paths.begin_reading if packed_paths.are_in_a_store(paths) else None
