"""Photos decoded by as many processes as there are cores: threads would wait for each other at Python's lock."""

import json
import os
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from catdog.errors import ImageError
from catdog.images import decode

_LEAST = 1000  # photos for which it pays to start processes: each needs some 0.2 s


class Decoders:
    """Decodes photos to `size` (height, width), by `count` processes, or here where that is one or `photos` are few.

    The processes end with `close`, or with this object, or with this process, however that ends.
    """

    def __init__(self, size: tuple[int, int], count: int, photos: int) -> None:
        self.size, self.closed = size, False
        is_worth_it = count > 1 and photos >= _LEAST and bool(sys.executable)
        self._idle = deque(_Process(size) for _ in range(count if is_worth_it else 0))
        self.close_processes = weakref.finalize(self, _end_all, list(self._idle))

    def decode(self, paths: Sequence[str], into: np.ndarray) -> dict[int, str]:
        """Fill `into` (uint8, len(paths) x 3 x H x W, contiguous); returns position -> why it cannot be read.

        Threads may call it, as many at a time as there are processes.
        """
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
        self.closed = True
        self.close_processes()


class _Process:
    """A process that is given lists of paths and answers with pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        package = str(Path(__file__).resolve().parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "catdog.decoders", *map(str, size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other
        )

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


def _serve(size: tuple[int, int], requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line, a JSON list of paths: with a line, a JSON object of Decoders.decode's reasons, then pixels."""
    for request in requests:
        paths = json.loads(request)
        pixels = np.zeros((len(paths), 3, *size), np.uint8)
        reasons = _decode_here(paths, pixels, lambda: False)
        answers.write(json.dumps(reasons).encode() + b"\n")
        answers.write(pixels.data)
        answers.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    try:
        _serve((int(sys.argv[1]), int(sys.argv[2])), sys.stdin.buffer, answers)
    except BrokenPipeError:  # nobody listens any more
        os._exit(0)
