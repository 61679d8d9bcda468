"""A program run in a process of its own: its wall time, its peak memory, and when it said what."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Problem

SCRIPTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ended:
    """seconds: from start to end. peak_mb: the most memory of any one of its processes, in 10^6 bytes.

    lines: what it printed, each with the seconds since the start at which it came.
    """

    seconds: float
    peak_mb: float
    lines: list[tuple[float, str]]

    def when(self, wanted: Callable[[str], bool]) -> float | None:
        """When the first such line came."""
        return next((at for at, line in self.lines if wanted(line)), None)


def run_python(arguments: Sequence[object], folder: Path, until: Callable[[str], bool] = lambda line: False) -> Ended:
    """Run `python ARGUMENTS` in `folder`, or until it prints a line of which `until` is true; Problem if it fails.

    Only as long as this process is small is the peak that of the child: Linux counts what the parent held when it
    started a child to the child. Nothing here may import torch or NumPy.
    """
    path = os.pathsep.join(map(str, (SCRIPTS, SCRIPTS.parent)))  # this catdog, whichever is installed
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL
        )
        assert child.stdout is not None
        lines: list[tuple[float, str]] = []
        stopped = False
        try:
            for line in child.stdout:
                lines.append((time.perf_counter() - started, line.decode(errors="replace").rstrip("\n")))
                if not stopped and until(lines[-1][1]):
                    stopped = True
                    child.terminate()
        except BaseException:
            child.kill()
            raise
        finally:
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - started
            child.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
            child.stdout.close()
        if child.returncode and not stopped:
            errors.seek(0)
            said = [line for line in errors.read().splitlines() if line.strip()] or [f"status {child.returncode}"]
            raise Problem(f"{' '.join(command[1:4])} ... failed: {said[-1]}")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return Ended(seconds, usage.ru_maxrss * kilobyte / 1e6, lines)


def run_peer(name: str, *arguments: object, folder: Path, until: Callable[[str], bool] = lambda line: False) -> Ended:
    """Run the program benchmarks/peers/`name`.py."""
    return run_python(["-m", f"benchmarks.peers.{name}", *arguments], folder, until)
