"""The two files of a run that hold a network, and the one way in which any file is written.

`model.safetensors` holds the best weights and, in its header, all that prediction needs. `last.pt` holds all that
an exact resume needs. Neither can run code when it is loaded.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from catdog.errors import CatdogError

FORMAT_VERSION = 1
MODEL_FILE = "model.safetensors"
STATE_FILE = "last.pt"
_HEADER_LIMIT = 1 << 20  # bytes of JSON in front of the weights; ours is a few thousand


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file, flush it to disk, rename it to `path`: a reader finds the old file or the new.

    Raises CatdogError where the disk is full or cannot be written; the old file is then as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise CatdogError(
            f"cannot write {path}: {error.strerror or error}; what was saved before is whole. "
            "Make room, or give another --out."
        ) from None


def _sync_folder(folder: Path) -> None:
    """Flush the folder's own list of names, so that a rename outlives a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))


@dataclass(frozen=True)
class Architecture:
    """Shape of an MLP: the arguments of `catdog.model.MLP`."""

    image_size: tuple[int, int]
    hidden: tuple[int, ...]
    activation: str
    batch_norm: bool = False
    dropout: float = 0.0


@dataclass(frozen=True)
class ModelCard:
    """What the header of `model.safetensors` says of the network."""

    architecture: Architecture
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    """Of each channel over the training photos, in levels (0 to 255)."""
    std: tuple[float, float, float]
    resize_filter: str
    average_mirrored: bool
    """Whether the logits of a photo and of its mirror image are averaged."""
    loss: str
    temperature: float
    """Probabilities are softmax(logits / temperature); fitted on the validation photos."""
    mean_colours: tuple[tuple[float, float, float], ...] = ()
    """Mean red, green, blue of each class's training photos, in levels: for the nearest-mean-colour baseline."""
    train_counts: tuple[int, ...] = ()
    """Training photos of each class: for the majority baseline."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """accuracy, loss, photos (how many) and epoch of the weights."""


def save_model(path: Path, tensors: Mapping[str, np.ndarray], card: ModelCard) -> None:
    """Write `model.safetensors`, atomically."""
    from safetensors.numpy import save

    header = json.dumps({"format_version": FORMAT_VERSION, **asdict(card)}, ensure_ascii=False, sort_keys=True)
    data = save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata={"catdog": header})
    write_atomic(path, lambda file: file.write(data))


def load_model(path: Path) -> tuple[dict[str, NDArray[np.float32]], ModelCard]:
    """The weights (float32 arrays by name) and the card of a `model.safetensors`; needs no torch.

    Raises CatdogError, in bounded time and memory, for a file that is not one of ours or not whole.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > _HEADER_LIMIT:
            raise _bad_model(path, "its header is damaged")
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            if "catdog" not in metadata:
                raise _bad_model(path, "it was not written by catdog")
            card = _card_from_json(path, metadata["catdog"])
            # Told apart before any weight is read: names, shapes and types are those of the architecture.
            expected = expected_shapes(card)
            found = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
            shapes = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}
            if shapes != {name: (shape, "F32") for name, shape in expected.items()}:
                raise _bad_model(path, "its weights do not fit the architecture in its header")
            tensors = {name: stored.get_tensor(name) for name in expected}
    except OSError as error:
        raise CatdogError(f"cannot read the model {path}: {error.strerror or error}; check the path.") from None
    except SafetensorError as error:
        raise _bad_model(path, f"it is not a whole safetensors file ({error})") from None
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise _bad_model(path, f"{name} holds numbers that are not finite")
    return tensors, card


def _bad_model(path: Path, why: str) -> CatdogError:
    return CatdogError(f"{path} cannot be used as a model: {why}; take another run, or train again.")


def _card_from_json(path: Path, text: str) -> ModelCard:
    try:
        about = json.loads(text)
        version = about.pop("format_version")
        if version != FORMAT_VERSION:
            raise _bad_model(path, f"its format version is {version!r} and this catdog reads {FORMAT_VERSION}")
        shape = about.pop("architecture")
        architecture = Architecture(
            image_size=_whole_numbers(shape["image_size"], 2),
            hidden=_whole_numbers(shape["hidden"]),
            activation=str(shape["activation"]),
            batch_norm=bool(shape["batch_norm"]),
            dropout=float(shape["dropout"]),
        )
        card = ModelCard(
            architecture=architecture,
            classes=tuple(_class_name(name) for name in about["classes"]),
            mean=_three(about["mean"]),
            std=_three(about["std"]),
            resize_filter=str(about["resize_filter"]),
            average_mirrored=bool(about["average_mirrored"]),
            loss=str(about["loss"]),
            temperature=_finite(about["temperature"]),
            mean_colours=tuple(_three(colour) for colour in about["mean_colours"]),
            train_counts=tuple(int(count) for count in about["train_counts"]),
            validation={str(name): _finite(value) for name, value in about["validation"].items()},
        )
        if len(set(card.classes)) != len(card.classes) or len(card.classes) < 2:
            raise ValueError("classes")
        if min(card.std) <= 0 or card.temperature <= 0:
            raise ValueError("scale")
        if architecture.activation not in ("relu", "gelu", "tanh", "sigmoid"):
            raise ValueError("activation")
        return card
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise _bad_model(path, f"its header does not describe a network ({type(error).__name__}: {error})") from None


def _whole_numbers(values: Any, count: int | None = None) -> Any:
    if not isinstance(values, list) or any(type(value) is not int or not 0 < value < 2**31 for value in values):
        raise ValueError(f"{values!r:.80} is not a list of whole numbers")
    if len(values) > 1000 or count not in (None, len(values)):
        raise ValueError("a list of another length was expected")
    return tuple(values)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is not a number")
    return float(value)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (_finite(value) for value in values)
    return red, green, blue


def _class_name(name: Any) -> str:
    """A class is named like a folder, so it is never a path."""
    if not isinstance(name, str) or not name or name in (".", "..") or len(name) > 255 or set(name) & {"/", "\\", "\0"}:
        raise ValueError(f"{name!r:.80} is not the name of a class")
    return name


def expected_shapes(card: ModelCard) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of the network that `card` describes: the state dict of `catdog.model.MLP`."""
    architecture = card.architecture
    height, width = architecture.image_size
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3 * height * width
    for i, outputs in enumerate(architecture.hidden):
        shapes[f"hidden.{i}.linear.weight"] = (outputs, inputs)
        shapes[f"hidden.{i}.linear.bias"] = (outputs,)
        if architecture.batch_norm:
            for name in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"hidden.{i}.norm.{name}"] = (outputs,)
        inputs = outputs
    shapes["classifier.weight"] = (len(card.classes), inputs)
    shapes["classifier.bias"] = (len(card.classes),)
    return shapes


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write `last.pt`: tensors and plain values only, atomically."""
    import torch

    write_atomic(path, lambda file: torch.save(dict(state), file))


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote; loaded with weights_only, so nothing in the file is executed."""
    import pickle
    import zipfile

    import torch

    try:
        # torch stores its tensors uncompressed; a zip that claims otherwise may unpack to more than the disk holds.
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise zipfile.BadZipFile("it is compressed")
            damaged = archive.testzip()
            if damaged:
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {state['format_version']!r}, where this catdog reads {FORMAT_VERSION}")
        return state
    except OSError as error:
        raise CatdogError(f"cannot read the checkpoint {path}: {error.strerror or error}; check the path.") from None
    except (
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CatdogError(f"{path} is not a whole checkpoint ({reason}); train again, or resume another run.") from None
