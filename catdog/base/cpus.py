"""How many CPUs this process may use: in a container, under taskset or in a batch job, fewer than the machine has."""

import math
import os
from pathlib import Path

from catdog.base.text import many


def usable_cpus(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> tuple[int, str]:
    """How many CPUs the affinity and the cgroup's quota allow, and which of the two it is that allows fewer, or ""."""
    there = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    quota = math.ceil(_quota(groups, mounted))
    if quota < min(allowed, there):
        return max(1, quota), f"the cgroup's quota, of {there} CPUs"
    return min(allowed, there), f"the CPU affinity, of {there} CPUs" if allowed < there else ""


def too_many(threads: int) -> str:
    """A note, to be put behind a number of threads, where all of them are more than the usable CPUs; else ""."""
    cpus, _ = usable_cpus()
    return f", more than the {many(cpus, 'CPU')} that may be used" if threads > cpus else ""


def _quota(groups: Path, mounted: Path) -> float:
    """The least quota, in CPUs, of this process's cgroups (version 1 or 2) and those above them; 2**31 without any."""
    least = 2.0**31
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # not Linux
        return least
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container may see the path outside it, and its own files at the root.
        own = mounted / ("cpu" if controllers else "") / path.lstrip("/")
        for folder in (own, *own.parents):
            try:
                if controllers:
                    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
                if quota.strip() != "max" and float(quota) > 0:  # -1 is no limit
                    least = min(least, float(quota) / float(period))
            except (OSError, ValueError):  # no such file here
                continue
    return least
