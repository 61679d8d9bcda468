"""Standard output and error: closed, full, or in an encoding that lacks letters; JSON that any encoding can hold."""

import codecs
import contextlib
import errno
import functools
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from catdog.errors import CatdogError

_ESCAPES = "catdog.escapes"  # an error handler of Python's encoders


def prepare_streams() -> None:
    """Make print() work on standard output and error, whatever they are.

    Closed ones become the null device: their descriptors too, or the next file to be opened would get what is printed.
    What cannot be written to standard output raises CatdogError, or BrokenPipeError where its reader has gone; to
    standard error, or to a terminal that is gone, it is dropped. Letters that the encoding lacks are written as
    escapes, bytes of file names that are no text as they are.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(handle, True)
        os.close(handle)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, for as long as the process lasts
    sys.stdout = _checked(sys.stdout, sys.__stdout__)
    sys.stderr = _checked(sys.stderr, sys.__stderr__)
    codecs.register_error(_ESCAPES, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPES)


class _Checked(io.TextIOWrapper):
    """Standard output, with CatdogError for what cannot be written, or standard error, without."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), self.fileno())  # which takes what is left in the buffers
        if self.fileno() == 2 or error.errno == errno.EIO:  # the latter: the terminal is gone
            return
        problem: Exception = error
        if not isinstance(error, BrokenPipeError):
            problem = CatdogError(
                f"cannot write to standard output: {error.strerror}, so what it got is not complete; make room, or "
                "send it elsewhere."
            )
        if _put_off is None:
            raise problem from None
        _put_off.append(problem)


_put_off: list[Exception] | None = None  # what `output_may_fail` will raise; None outside of it


@contextlib.contextmanager
def output_may_fail() -> Iterator[None]:
    """A context that goes on where standard output cannot be written any more, and raises that at its end."""
    global _put_off
    failed: list[Exception] = []
    _put_off = failed
    try:
        yield
        sys.stdout.flush()
    finally:
        _put_off = None
    if failed:
        raise failed[0]


def _checked(stream: Any, original: Any) -> Any:
    """`stream` with its errors translated, if it is the one that Python began with; the null device if it is closed."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # for as long as the process lasts
    if stream is not original or isinstance(stream, _Checked) or not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding, at_once, by_line = stream.encoding, stream.write_through, stream.line_buffering
    return _Checked(stream.detach(), encoding, write_through=at_once, line_buffering=by_line)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):  # a stream that is read too, as a test's is
        return codecs.lookup_error("surrogateescape")(error)
    lacking = error.object[error.start : error.end]
    if not re.fullmatch("[\udc80-\udcff]+", lacking) or error.encoding.startswith(("utf-16", "utf-32")):
        return codecs.backslashreplace_errors(error)
    return lacking.encode("ascii", "surrogateescape"), error.end


def json_line(value: Any) -> str:
    """JSON on one line, its letters as they are where standard output can show them, else as \\uXXXX."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return re.sub(r"[^ -~]", lambda found: _in_json(found[0], encoding), json.dumps(value, ensure_ascii=False))


@functools.lru_cache(2**16)
def _in_json(letter: str, encoding: str) -> str:
    try:
        letter.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(letter)[1:-1]
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]
