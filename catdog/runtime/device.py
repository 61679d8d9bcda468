"""Which device the network runs on."""

import torch

from catdog.errors import CatdogError


def choose_device(name: str) -> tuple[torch.device, str]:
    """The device called `name` ("auto": cuda, else mps, else cpu), and in words which it is and why.

    Raises CatdogError naming the devices that are there if that one is not.
    """
    available = available_devices()
    if name == "auto":
        chosen, why = available[0], _why_first(available)
    else:
        chosen, why = "cuda:0" if name == "cuda" else name, "as asked"
        if chosen not in available:
            raise CatdogError(
                f"there is no device {name} (--device); those that are there: {', '.join(reversed(available))}"
                f"{_why_no_gpu() if name.startswith('cuda') and len(available) == 1 else ''}."
            )
    device = torch.device(chosen)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        return device, f"{chosen}, {properties.name} with {memory} ({why})"
    return device, f"{chosen} ({why})"


def available_devices() -> list[str]:
    """Names of all devices, the one to be preferred first."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def _why_first(available: list[str]) -> str:
    if available[0] == "cpu":
        return f"there is no GPU that torch can use{_why_no_gpu()}"
    gpus = len(available) - 1
    return "the GPU that is there" if gpus == 1 else f"the first of {gpus} GPUs"


def _why_no_gpu() -> str:
    """What the user may not know where an NVIDIA or AMD GPU is not found: this build of torch is for none."""
    is_for_gpu = torch.version.cuda is not None or torch.version.hip is not None or torch.backends.mps.is_built()
    return "" if is_for_gpu else "; this PyTorch was built for the CPU alone"
