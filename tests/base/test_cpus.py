"""How many CPUs a process may use, by each of the ways in which it can be given fewer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from catdog.base import cpus
from catdog.base.cpus import usable_cpus
from catdog.base.threads import thread_count

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 CPUs, all of which are allowed."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def cgroup(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """(the file in which a process finds its groups, the folder in which these are mounted)."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        (folder / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fs" / name).write_text(text)
    return folder / "own", folder / "fs"


V1 = "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"
CGROUPS: dict[str, tuple[str, dict[str, str], int]] = {
    "version 2, in a container": ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
    "version 2, one and a half": ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    "version 2, less than one": ("0::/\n", {"cpu.max": "5000 100000\n"}, 1),
    "version 2, no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
    "version 2, more than there are": ("0::/\n", {"cpu.max": "9000000 100000\n"}, 64),
    "version 2, of a group above": ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "800000 100000\n"}, 4),
    "version 1, seen from the host": (
        V1, {"cpu/docker/abc/cpu.cfs_quota_us": "300000\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, 3,
    ),
    "version 1, in a container": (V1, {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
    "version 1, no limit": (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
    "nothing to read": ("0::/\n", {}, 64),
}  # fmt: skip


@pytest.mark.parametrize("name", CGROUPS)
def test_the_quota_of_a_cgroup(tmp_path: Path, name: str) -> None:
    own, files, expected = CGROUPS[name]
    count, limit = usable_cpus(*cgroup(tmp_path, own, files))
    assert (count, bool(limit)) == (expected, expected < 64)


@needs_affinity
def test_the_affinity_of_a_process() -> None:
    """As taskset sets it, of this machine and not of the one made up above."""
    source = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    source += "from catdog.base.cpus import usable_cpus; from catdog.base.threads import thread_count; "
    source += "print(usable_cpus()[0], thread_count(0, 4)[0])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_threads_are_those_asked_for_then_of_the_environment_then_a_share_of_the_cpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpus, "_quota", lambda *paths: 12.0)
    assert thread_count() == (12, "12 threads (the cgroup's quota, of 64 CPUs)")
    assert (thread_count(0, 4)[0], thread_count(0, 100)[0]) == (3, 1)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    assert thread_count()[0] == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert thread_count() == (5, "5 threads (OMP_NUM_THREADS)")
    assert thread_count(8) == (8, "8 threads (--threads)")
    assert thread_count(13) == (13, "13 threads (--threads, more than the 12 CPUs that may be used)")
    assert thread_count(8, 2) == (8, "8 threads (--threads, more than the 12 CPUs that may be used)")
    monkeypatch.setattr(cpus, "_quota", lambda *paths: 1.0)
    assert thread_count() == (5, "5 threads (OMP_NUM_THREADS, more than the 1 CPU that may be used)")


@pytest.mark.parametrize("nonsense", ["", "0", "-3", "many", "\u00b2"])
def test_what_is_no_number_of_threads_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch, nonsense: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
    monkeypatch.setattr(cpus, "_quota", lambda *paths: 2.0**31)
    assert thread_count() == (64, "64 threads")


def test_the_one_that_torchrun_sets_for_several_processes_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "_quota", lambda *paths: 2.0**31)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert (thread_count(0, 1)[0], thread_count(0, 2)[0]) == (1, 32)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert thread_count(0, 2)[0] == 2
