"""Starts worker processes, which run a function of this package and communicate over stdin and stdout pipes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import catdog


def start_python(program: str) -> "subprocess.Popen[bytes]":
    """Start a Python process that runs the source text `program`, with pipes for its standard input and output.

    It imports this catdog and nothing from the current folder (-P). It is in a new session, so Ctrl-C reaches only this
    process, which then ends it.
    """
    folder = str(Path(catdog.__file__).resolve().parent.parent)
    source = f"import sys; {folder!r} in sys.path or sys.path.insert(0, {folder!r}); {program}"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if sys.stderr else subprocess.DEVNULL,  # it needs one, and ours may be closed
        start_new_session=True,
    )


def claim_standard_output() -> BinaryIO:
    """Duplicate standard output for the answers, and redirect what libraries print there to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers
