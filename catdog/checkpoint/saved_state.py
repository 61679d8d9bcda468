"""Loads `last.pt` or `previous.pt`, the state from which a training is resumed, without trusting the file.

It is loaded with weights_only=True, so nothing in it is executed; a checksum tells when a bit of it has changed.
"""

import math
import pickle
import pickletools
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from catdog.checkpoint.model_card import FORMAT_VERSION
from catdog.checkpoint.model_file import PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.training_state import NO_COMMENT, archive_end
from catdog.errors import CatdogError

_BLOCK = 1 << 20
# All globals that a state needs. torch.load allows more, but with some of them a few bytes allocate much memory.
_ALLOWED = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"} | {
    f"torch {kind}Storage" for kind in ("Float", "Double", "Long", "Int", "Byte", "Bool", "Half", "BFloat16")
}


class DamagedError(CatdogError):
    """A checkpoint is missing or damaged: the one before it may be usable."""


def load_state(path: Path) -> dict[str, Any]:
    """Load what `save_state` wrote, to the CPU.

    Raises DamagedError if the file is missing or its checksum is wrong, and CatdogError if it is whole but not a
    checkpoint of catdog.
    """
    try:
        with open(path, "rb") as file:
            size = _check_whole(path, file)
            _check_archive(file, size)
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
        if state["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {state['format_version']!r}, where this catdog reads {FORMAT_VERSION}")
        if sum(map(_bytes_of, _tensors(state))) > size:
            raise ValueError("its tensors are larger than itself")
        return state
    except CatdogError:
        raise
    except OSError as error:
        raise DamagedError(f"cannot read the checkpoint {path}: {error.strerror or error}; check the path.") from None
    except Exception as error:  # a file made elsewhere can raise anything
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CatdogError(f"{path} is not a checkpoint of catdog ({reason}); resume another run.") from None


def _check_whole(path: Path, file: BinaryIO) -> int:
    """Return the size of the file; raise DamagedError if it does not end with its correct checksum."""
    size = file.seek(0, 2)
    file.seek(0)
    checksum, left = 0, size - len(archive_end(0))
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
    if left or file.read() != archive_end(zlib.crc32(NO_COMMENT, checksum)):
        raise DamagedError(f"{path} is not a whole checkpoint: its checksum is wrong; resume another run.")
    return size


def _check_archive(file: BinaryIO, size: int) -> None:
    """Raise ValueError if the archive unpacks to more than its size, or UnpicklingError if it needs other globals."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its parts are larger than itself")
        (pickled,) = (entry for entry in entries if entry.filename.endswith("/data.pkl"))
        for opcode, argument, _ in pickletools.genops(archive.read(pickled)):
            if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST") and argument not in _ALLOWED:
                raise pickle.UnpicklingError(f"it asks for {argument!r}")
            if opcode.name == "PROTO" and argument != 2:
                raise pickle.UnpicklingError("it is pickled in another way than torch does")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in items for tensor in _tensors(item)]


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def load_newest_state(run: Path) -> tuple[dict[str, Any], str]:
    """Load the newest whole checkpoint of a run that no process writes to; return it, and a message or "".

    Where `last.pt` is missing or damaged, `previous.pt` replaces it, and the message says so. Raises DamagedError for
    `last.pt` if both are missing or damaged.
    """
    try:
        return load_state(run / STATE_FILE), ""
    except DamagedError as damage:
        try:
            state = load_state(run / PREVIOUS_FILE)
        except DamagedError:
            raise damage from None
        # Renamed, so that the next checkpoint does not replace this one, as previous.pt, by the damaged one.
        (run / PREVIOUS_FILE).replace(run / STATE_FILE)
        return state, f"{run / STATE_FILE} is missing or damaged, so this goes on from the checkpoint before it."


def check_fits(found: Any, wanted: Any, name: str = "") -> None:
    """Raise ValueError, naming the part, unless `found` has the structure of `wanted`.

    That is, the same keys and types, and tensors of the same shape and dtype; lists are not compared.
    """
    if type(found) is not type(wanted):
        raise ValueError(f"{name} is of type {type(found).__name__}, not {type(wanted).__name__}")
    if isinstance(wanted, Tensor):
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(f"{name} has the shape {tuple(found.shape)}, not {tuple(wanted.shape)}")
    elif isinstance(wanted, dict):
        if found.keys() != wanted.keys():
            raise ValueError(f"{name or 'it'} holds other parts than {', '.join(map(str, wanted))}")
        for key in wanted:
            check_fits(found[key], wanted[key], f"{name}.{key}" if name else str(key))


def check_optimizer(found: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError unless `found` can be the state_dict() of such an optimizer, before or after a step."""
    if not isinstance(found, dict) or not all(isinstance(group, dict) for group in found["param_groups"]):
        raise ValueError("its optimizer has no settings")
    groups = [{**group, "lr": 0.0} for group in optimizer.state_dict()["param_groups"]]
    # Compared as text, since 1 == True, and a tensor of one element compares equal to its value.
    if repr([{**group, "lr": 0.0 * float(group["lr"])} for group in found["param_groups"]]) != repr(groups):
        raise ValueError("its optimizer has other settings")
    wanted = [
        (parameter, {"momentum_buffer"} if "momentum" in group else {"step", "exp_avg", "exp_avg_sq"})
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    entries = found["state"]
    if entries and (
        entries.keys() != set(range(len(wanted)))
        or any(entries[number].keys() != names for number, (_, names) in enumerate(wanted))
    ):
        raise ValueError("its optimizer holds other parts")
    for number, entry in entries.items():
        for name, tensor in entry.items():
            check_fits(tensor, torch.zeros(()) if name == "step" else wanted[number][0].data, f"optimizer.{name}")


def check_scaler(found: Any) -> None:
    """Raise ValueError unless `found` can be the state_dict() of a GradScaler, or is {}, where none is used."""
    wanted = torch.amp.GradScaler("cpu").state_dict()
    if found != {}:
        check_fits(found, wanted, "scaler")
        if not (math.isfinite(found["scale"]) and found["scale"] > 0 and {**found, **_variable_part(wanted)} == wanted):
            raise ValueError("its gradient scaler has other settings")


def _variable_part(scaler: dict[str, Any]) -> dict[str, Any]:
    return {name: scaler[name] for name in ("scale", "_growth_tracker")}
