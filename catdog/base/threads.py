"""How many threads, or processes that decode, this process starts."""

import os

from catdog.base.text import many

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # in the order in which torch looks at them


def thread_count(asked: int = 0, processes: int = 1) -> tuple[int, str]:
    """Number of threads for one of `processes` that share this machine, and in words with where it is from.

    `asked` where that is not 0, else OMP_NUM_THREADS or MKL_NUM_THREADS, else this process's share of `usable_cpus`.
    A 1 in these variables counts for a process alone: torchrun sets it for several, whether the user wants it or not.
    """
    from catdog.base.cpus import too_many, usable_cpus  # which read files of the system

    if asked:
        return asked, f"{many(asked, 'thread')} (--threads{too_many(asked * processes)})"
    for name in _VARIABLES:
        value = os.environ.get(name, "").split(",")[0].strip()  # a list is for nested regions
        if value.isdecimal() and int(value) > (processes > 1):
            return int(value), f"{many(int(value), 'thread')} ({name}{too_many(int(value) * processes)})"
    cpus, limit = usable_cpus()
    count = max(1, cpus // processes)
    return count, many(count, "thread") + (f" ({limit})" if limit else "")
