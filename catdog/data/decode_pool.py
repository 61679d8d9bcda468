"""Decoding in parallel: processes, one a core, since threads would wait for each other at Python's lock."""

import contextlib
import json
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from catdog.base.worker import claim_standard_output, start_python
from catdog.errors import ImageError
from catdog.images.decoder import decode_and_measure

if sys.platform == "linux":
    import fcntl

_PIPE = 2**20  # bytes that wait in a pipe, the most that Linux allows
_LEAST = 1000  # photos for which it pays to start processes: each needs some 0.2 s
_TASK = 64  # photos that a process decodes in a turn, at most
_TASK_BYTES = 2**26  # and bytes of their pixels


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

    `expected`: how many photos are to come, where that is known; processes are started where there are a thousand, or
    when so many have come. There are never more than two a core. They end with `close`, or with this object, or with
    this process, however that ends.
    """

    def __init__(self, size: tuple[int, int], workers: int = 1, expected: int = 0) -> None:
        self.size = size
        self.task = max(1, min(_TASK, _TASK_BYTES // (3 * size[0] * size[1])))
        self.closed = False
        can_start = workers > 1 and bool(sys.executable)
        self._to_start = min(workers, 2 * (os.cpu_count() or 1)) if can_start else 0
        self._expected, self._asked = expected, 0
        self._starting = threading.Lock()
        self._idle: deque[_Process] = deque()
        self._processes: list[_Process] = []
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
        coming: deque[Future[DecodedPart]] = deque()
        try:
            for start in range(0, len(paths), task):
                rows = range(start, min(start + task, len(paths)))
                shape = (len(rows), 3, *self.size)
                pixels = np.empty(shape, np.uint8) if into is None else into[start : rows.stop]
                coming.append(self._threads.submit(self._decode_part, paths[start : rows.stop], pixels, rows))
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

    def _decode_part(self, paths: Sequence[str], into: np.ndarray, rows: range) -> DecodedPart:
        reasons, sizes = self._decode(paths, into)
        return DecodedPart(rows, into, {rows[position]: reason for position, reason in reasons.items()}, sizes)

    def _decode(self, paths: Sequence[str], into: np.ndarray) -> "_Answer":
        self._start(len(paths))
        try:
            process = self._idle.pop()
        except IndexError:
            return _decode_here(paths, into, lambda: self.closed)
        try:
            answer = process.decode(paths, into)
        except (OSError, ValueError):  # it was killed, perhaps for the memory it took: this process goes on without it
            return _decode_here(paths, into, lambda: self.closed)
        self._idle.append(process)
        return answer

    def _start(self, asked: int) -> None:
        """Start the processes, once, if enough photos are expected or have been asked for."""
        with self._starting, contextlib.suppress(OSError):  # the system may allow no more processes
            self._asked += asked
            if max(self._expected, self._asked) < _LEAST or self.closed:
                return
            to_start, self._to_start = self._to_start, 0
            for _ in range(to_start):
                self._processes.append(_Process(self.size))
                self._idle.append(self._processes[-1])


_Answer = tuple[dict[int, str], list[tuple[int, int]]]  # position -> why it cannot be read; height, width of each


class _Process:
    """A process that is given lists of paths and answers with pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = map(int, size)
        self._process = start_python(f"from catdog.data.decode_pool import serve; serve({(height, width)})")
        if sys.platform == "linux" and self._process.stdout is not None:
            with contextlib.suppress(OSError):  # an answer is read at one go then, and the next one begun meanwhile
                fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, _PIPE)

    def decode(self, paths: Sequence[str], into: np.ndarray) -> _Answer:
        """Fill `into`; OSError or ValueError where the process has ended."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        requests.write(json.dumps(list(paths)).encode() + b"\n")
        requests.flush()
        reasons, sizes = json.loads(answers.readline())
        left = into.data.cast("B")
        while left:
            count = answers.readinto(left)  # type: ignore[attr-defined]
            if not count:
                raise OSError("it ended in the middle of an answer")
            left = left[count:]
        return {int(position): reason for position, reason in reasons.items()}, [(h, w) for h, w in sizes]

    def end(self) -> None:
        self._process.kill()  # it writes nothing but its answers
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent is not wanted any more
                if pipe is not None:
                    pipe.close()


def _end_all(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.end()


def _decode_here(paths: Sequence[str], into: np.ndarray, is_given_up: Callable[[], bool]) -> _Answer:
    reasons, sizes = {}, [(0, 0)] * len(paths)
    for position, path in enumerate(paths):
        if is_given_up():
            break
        try:
            pixels, sizes[position] = decode_and_measure(path, (into.shape[2], into.shape[3]))
            into[position] = pixels.transpose(2, 0, 1)
        except ImageError as error:
            reasons[position] = str(error)
    return reasons, sizes


def serve(size: tuple[int, int]) -> None:
    """Be one of the processes, until nobody asks any more.

    Each line of standard input is a JSON list of paths. The answer is a line, a JSON list of the reasons and the sizes,
    and after it the pixels' bytes.
    """
    with contextlib.suppress(BrokenPipeError), claim_standard_output() as answers:
        for request in sys.stdin.buffer:
            paths = json.loads(request)
            pixels = np.zeros((len(paths), 3, *size), np.uint8)
            answer = _decode_here(paths, pixels, lambda: False)
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.write(pixels.data)
            answers.flush()
    os._exit(0)  # without a word of pipes that are no more
