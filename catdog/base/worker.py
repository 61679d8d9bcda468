"""Processes that work for this one: they run a part of this package, and are asked, and answer, over pipes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import catdog


def python(program: str) -> "subprocess.Popen[bytes]":
    """A process that runs a `program` of this package, with pipes for its standard input and output.

    It takes no modules from the current folder, and hears no Ctrl-C: that is for this process, which then ends it.
    """
    folder = str(Path(catdog.__file__).resolve().parent.parent)
    found = f"import sys; {folder!r} in sys.path or sys.path.insert(0, {folder!r}); {program}"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", found], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def standard_output() -> BinaryIO:
    """Standard output, for answers alone: what a library prints is none, and goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers
