"""Photos decoded by as many processes as there are cores; threads would wait for each other at Python's lock."""

import contextlib
import json
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from catdog.base.worker import python, standard_output
from catdog.errors import ImageError
from catdog.images.decoder import decode

if sys.platform == "linux":
    import fcntl

_PIPE = 2**20  # bytes that wait in a pipe, the most that Linux allows
_LEAST = 1000  # photos for which it pays to start processes: each needs some 0.2 s


class Decoders:
    """Decodes photos to `size` (height, width), by `count` processes, or here where that is one or `photos` are few.

    There are never more than two processes a core. They start with the first `decode`, and end with `close`, or with
    this object, or with this process, however that ends.
    """

    def __init__(self, size: tuple[int, int], count: int, photos: int) -> None:
        self._size = size
        self.closed = False
        is_worth_it = count > 1 and photos >= _LEAST and bool(sys.executable)
        self._to_start = min(count, 2 * (os.cpu_count() or 1)) if is_worth_it else 0
        self._starting = threading.Lock()
        self._idle: deque[_Process] = deque()
        self._processes: list[_Process] = []
        self.close_processes = weakref.finalize(self, _end_all, self._processes)

    def decode(self, paths: Sequence[str], into: np.ndarray) -> dict[int, str]:
        """Fill `into` (uint8, len(paths) x 3 x H x W, contiguous); returns position -> why it cannot be read.

        Threads may call it, as many at a time as there are processes.
        """
        self._start()
        try:
            process = self._idle.pop()
        except IndexError:
            return _decode_here(paths, into, lambda: self.closed)
        try:
            reasons = process.decode(paths, into)
        except (OSError, ValueError):  # it was killed, perhaps for the memory it took: this process goes on without it
            return _decode_here(paths, into, lambda: self.closed)
        self._idle.append(process)
        return reasons

    def close(self) -> None:
        """End the processes; whoever waits for one gets what there is."""
        with self._starting:
            self.closed = True
        self.close_processes()

    def _start(self) -> None:
        with self._starting, contextlib.suppress(OSError):  # the system may allow no more processes
            to_start, self._to_start = 0 if self.closed else self._to_start, 0
            for _ in range(to_start):
                self._processes.append(_Process(self._size))
                self._idle.append(self._processes[-1])


class _Process:
    """A process that is given lists of paths and answers with pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = map(int, size)
        self._process = python(f"from catdog.data.decode_pool import serve; serve({(height, width)})")
        if sys.platform == "linux" and self._process.stdout is not None:
            with contextlib.suppress(OSError):  # an answer is read at one go then, and the next one begun meanwhile
                fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, _PIPE)

    def decode(self, paths: Sequence[str], into: np.ndarray) -> dict[int, str]:
        """As Decoders.decode; OSError or ValueError where the process has ended."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        requests.write(json.dumps(list(paths)).encode() + b"\n")
        requests.flush()
        reasons = json.loads(answers.readline())
        left = into.data.cast("B")
        while left:
            count = answers.readinto(left)  # type: ignore[attr-defined]
            if not count:
                raise OSError("it ended in the middle of an answer")
            left = left[count:]
        return {int(position): reason for position, reason in reasons.items()}

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


def _decode_here(paths: Sequence[str], into: np.ndarray, is_given_up: Callable[[], bool]) -> dict[int, str]:
    reasons = {}
    for position, path in enumerate(paths):
        if is_given_up():
            break
        try:
            into[position] = decode(path, (into.shape[2], into.shape[3])).transpose(2, 0, 1)
        except ImageError as error:
            reasons[position] = str(error)
    return reasons


def serve(size: tuple[int, int]) -> None:
    """Be one of the processes, until nobody asks any more.

    Each line of standard input is a JSON list of paths. The answer is a line, a JSON object of what Decoders.decode
    returns, and after it the pixels' bytes.
    """
    with contextlib.suppress(BrokenPipeError), standard_output() as answers:
        for request in sys.stdin.buffer:
            paths = json.loads(request)
            pixels = np.zeros((len(paths), 3, *size), np.uint8)
            reasons = _decode_here(paths, pixels, lambda: False)
            answers.write(json.dumps(reasons).encode() + b"\n")
            answers.write(pixels.data)
            answers.flush()
    os._exit(0)  # without a word of pipes that are no more
