"""How many CPUs this process may use: in a container, under taskset or in a batch job, fewer than the machine has."""

import math
import os
from pathlib import Path

from catdog.base.text import many

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # in the order in which torch looks at them


def thread_count(asked: int = 0, processes: int = 1) -> tuple[int, str]:
    """Number of threads for one of `processes` that share this machine, and in words with where it is from.

    `asked` where that is not 0, else OMP_NUM_THREADS or MKL_NUM_THREADS, else this process's share of `usable_cpus`.
    A 1 in these variables counts for a process alone: torchrun sets it for several, whether the user wants it or not.
    """
    if asked:
        return asked, f"{many(asked, 'thread')} (--threads)"
    for name in _VARIABLES:
        value = os.environ.get(name, "").split(",")[0].strip()  # a list is for nested regions
        if value.isdecimal() and int(value) > (processes > 1):
            return int(value), f"{many(int(value), 'thread')} ({name})"
    cpus, limit = usable_cpus()
    count = max(1, cpus // processes)
    return count, many(count, "thread") + (f" ({limit})" if limit else "")


def usable_cpus(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> tuple[int, str]:
    """How many CPUs the affinity and the cgroup's quota allow, and which of the two it is that allows fewer, or ""."""
    there = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    quota = math.ceil(_quota(groups, mounted))
    if quota < min(allowed, there):
        return max(1, quota), f"the cgroup's quota, of {there} CPUs"
    return min(allowed, there), f"the CPU affinity, of {there} CPUs" if allowed < there else ""


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
