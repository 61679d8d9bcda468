"""Which device the network runs on."""

import torch

from catdog.errors import CatdogError


def choose_device(name: str) -> tuple[torch.device, str]:
    """The device called `name` ("auto": cuda, else mps, else cpu), and in words which it is and why.

    Raises CatdogError naming the devices that are there if that one is not.
    """
    available = available_devices()
    if name == "auto":
        chosen = available[0]
        why = "there is no GPU that torch can use" if chosen == "cpu" else "the first GPU that torch can use"
    else:
        chosen, why = name, "as asked"
        if (name not in available and name != "cuda") or (name == "cuda" and "cuda:0" not in available):
            raise CatdogError(
                f"there is no device {name} (--device); those that are there: {', '.join(reversed(available))}."
            )
    device = torch.device(chosen)
    if device.type == "cuda":
        return device, f"{chosen}, {torch.cuda.get_device_name(device)} ({why})"
    return device, f"{chosen} ({why})"


def available_devices() -> list[str]:
    """Names of all devices, the one to be preferred first."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]
