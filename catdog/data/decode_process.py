"""A process that decodes photos for another one: it is given lists of paths, and answers with pixels."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence

import numpy as np

from catdog.architecture import Resize
from catdog.base.worker import claim_standard_output, start_python
from catdog.errors import CatdogError
from catdog.images.decoder import FileReport, decode_files

if sys.platform == "linux":
    import fcntl

_PIPE = 2**20  # bytes that wait in a pipe, the most that Linux allows


class DecodeProcess:
    """A process that is given lists of paths and answers with pixels."""

    def __init__(self, size: tuple[int, int], resize: Resize) -> None:
        given = tuple(map(int, size)), str(resize)
        self._process = start_python(f"from catdog.data.decode_process import serve; serve(*{given})")
        if sys.platform == "linux" and self._process.stdout is not None:
            with contextlib.suppress(OSError):  # an answer is read at one go then, and the next one begun meanwhile
                fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, _PIPE)

    def decode(self, paths: Sequence[str], into: np.ndarray) -> FileReport:
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


def serve(size: tuple[int, int], resize: Resize) -> None:
    """Be one of the processes, until nobody asks any more.

    Each line of standard input is a JSON list of paths. The answer is a line, a JSON list of the reasons and the sizes,
    and after it the pixels' bytes.
    """
    with contextlib.suppress(BrokenPipeError, CatdogError), claim_standard_output() as answers:
        for request in sys.stdin.buffer:
            paths = json.loads(request)
            pixels = np.zeros((len(paths), 3, *size), np.uint8)
            answer = decode_files(paths, pixels, resize)
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.write(pixels.data)
            answers.flush()
    os._exit(0)  # without a word of pipes that are no more
