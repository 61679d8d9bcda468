"""On what was measured: machine and versions, no names of hosts or folders."""

import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from catdog.base.cpus import usable_cpus

_PACKAGES = (
    *("catdog", "torch", "torchvision", "pillow", "simplejpeg", "numpy"),
    *("fastai", "lightning", "timm"),
)
_SPEED_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE")


def describe() -> dict[str, Any]:
    """Processor, cores, memory, operating system, and the environment variables that change how fast it computes."""
    system = platform.system()
    with suppress(OSError):
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = _gpus()
    return {
        "processor": _processor(),
        "cores": usable_cpus()[0],
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{system}, {platform.machine()}",
        **({"gpus": gpus} if gpus else {}),
        "environment": {name: os.environ[name] for name in _SPEED_VARIABLES if name in os.environ},
    }


def _gpus() -> list[str]:
    """The models of NVIDIA's GPUs, as their driver on Linux tells them."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of Python and of each package that is installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
