"""Writes a web page of one file that answers without a server: the weights, 8 bits each, and what is in page/.

Its content security policy allows the scripts in it, by their hash, and nothing from elsewhere.
"""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catdog.architecture import LayerShape, margin
from catdog.base.atomic import write_text
from catdog.checkpoint.quantize import SCALE, quantize
from catdog.drawing.colours import DARK, LIGHT
from catdog.errors import CatdogError
from catdog.familiarity import grids_of_differences, watched
from catdog.numpy_net import Norm
from catdog.tools.export.exported import Exported

PAGE = files("catdog.tools.export") / "page"
SCRIPTS = ("words.js", "pixels.js", "answer.js", "page.js")


class Blob:
    """Arrays one after the other, each from a multiple of 8 bytes on."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def add(self, array: NDArray[Any]) -> int:
        """Append an array; return where it begins."""
        self.bytes += bytes(-len(self.bytes) % 8)
        start = len(self.bytes)
        self.bytes += np.ascontiguousarray(array).tobytes()
        return start


def write_html(exported: Exported, path: Path) -> None:
    """Write the page. Raises CatdogError for torchvision's networks, whose layers it does not know."""
    card = exported.card
    if not card.architecture.is_mlp:
        raise CatdogError(
            f"--format html is for MLPs, and this network is torchvision's {card.architecture.model}; give --format "
            "onnx."
        )
    blob = Blob()
    model = json.dumps(describe(exported, blob)).replace("<", "\\u003c")
    script = "".join(read(name) for name in SCRIPTS)
    light, dark = (sheet.read_text(encoding="utf-8") for sheet in (LIGHT, DARK))
    style = f"{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n{read('style.css')}"
    parts = {
        "script-hash": sha256(script),
        "style-hash": sha256(style),
        "title": html.escape(" · ".join(card.classes)),
        "style": style,
        "model": model,
        "network": read("network.js"),
        "weights": base64.b64encode(blob.bytes).decode(),
        "script": script,
    }
    write_text(path, re.sub(r"\[\[([a-z-]+)]]", lambda match: parts[match[1]], read("page.html")))


def read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def describe(exported: Exported, blob: Blob) -> dict[str, Any]:
    """What the page's scripts know of the network; its arrays go into `blob`."""
    card, about = exported.card, exported.about()
    shape = card.architecture
    found = {
        "classes": card.classes,
        "imageSize": shape.image_size,
        "resize": card.resize,
        "mean": card.mean,
        "std": card.std,
        "temperature": card.temperature,
        "averageMirrored": card.average_mirrored,
        "unsureBelow": about["unsure_below"],
        "unfamiliarBelow": about["unfamiliar_below"],
        "validation": card.validation,
        "trainedOn": sum(card.train_counts),
        "madeBy": about["made_by"],
        "watches": bool(shape.local),
        "statisticsGrids": grids_of_differences(*shape.image_size),
        "layers": layers(exported, blob),
    }
    if card.familiarity:
        arrays = {name: exported.tensors[f"familiarity.{name}"] for name in _FAMILIARITY}
        found["familiarity"] = {name: (blob.add(array), array.size) for name, array in arrays.items()}
    return found


_FAMILIARITY = ("mean", "factor", "directions", "distances")


def layers(exported: Exported, blob: Blob) -> list[dict[str, Any]]:
    """Each layer as page/network.js reads it."""
    card = exported.card
    shape, tensors = card.architecture, quantize(exported.tensors, "int8")
    channels_seen = watched(shape) if shape.local else {}
    found = []
    for layer in shape.layers(len(card.classes)):
        rows = tensors[f"{layer.arrays}.weight"]
        scale, offset = fold(tensors, layer)
        about: dict[str, Any] = {
            "rowCount": len(rows),
            "window": rows.shape[1],
            "weight": blob.add(rows),
            "scale": blob.add(scale.astype(np.float32)),
            "offset": blob.add(offset.astype(np.float32)),
            "activation": "" if layer.name == "classifier" else shape.activation,
            "adds": layer.adds,
            "branches": layer.branches,
            "pooled": [{"channels": grid.channels, "places": grid.places} for grid in layer.pooled],
        }
        if layer.below is not None and layer.grid is not None:
            below = layer.below
            about |= {
                "local": True,
                "shared": layer.shared,
                "channels": layer.channels,
                "places": layer.grid.places,
                "columns": layer.grid.width,
                "below": {"channels": below.channels, "height": below.height, "width": below.width},
                "field": layer.field,
                "stride": layer.stride,
                "edge": margin(layer.field),
            }
            if layer.name in channels_seen:
                about["watched"] = {"channels": layer.channels, "places": layer.grid.places}
        found.append(about)
    return found


def fold(tensors: dict[str, NDArray[Any]], layer: LayerShape) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each row the (scale, offset) with which scale * (q . x) + offset is Wx + b, normalised."""
    scale = tensors[f"{layer.arrays}.weight{SCALE}"].astype(np.float64)
    offset = tensors[f"{layer.arrays}.bias"].astype(np.float64)
    if layer.norm:
        names = ("weight", "bias", "running_mean", "running_var")
        norm = Norm(*(np.resize(tensors[f"{layer.norm}.{name}"], len(scale)).astype(np.float64) for name in names))
        factor = norm.gamma / norm.deviation
        scale, offset = scale * factor, (offset - norm.mean) * factor + norm.beta
    return scale, offset
