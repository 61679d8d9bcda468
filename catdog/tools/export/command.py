"""`catdog export`: one file that answers without catdog, as an ONNX graph, a torch.export program or a web page."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import catdog
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import load_model
from catdog.numpy_net import Floats
from catdog.runs.locate import comes_with_catdog, find_model, output_folder

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "html": ".html"}


@dataclass(frozen=True)
class Exported:
    """What is exported: the arrays and the card of a model file, and below what an answer is called in doubt."""

    tensors: dict[str, Floats]
    card: ModelCard
    unsure_below: float
    unfamiliar_below: float

    def about(self) -> dict[str, Any]:
        """What the file says of itself: input, classes in order, where the network comes from."""
        card = self.card
        return {
            "classes": card.classes,
            "image_size": card.architecture.image_size,
            "input": "photos: uint8, N x H x W x 3, RGB, upright; all H and W from 1 on, alike for the N photos",
            "outputs": ["probabilities: N x classes"]
            + ["familiarity: N, share of familiar photos that are less so"] * bool(card.familiarity),
            "unsure_below": self.unsure_below,
            "unfamiliar_below": self.unfamiliar_below if card.familiarity else 0.0,
            "trained_on": card.trained_on,
            "recipe": card.recipe,
            "validation": card.validation,
            "made_by": f"catdog {catdog.__version__}",
            "card": asdict(card),
        }


def main(run: str | None, kind: str, out: str | None, unsure_below: float, unfamiliar_below: float) -> int:
    """Write the export, and print what it is and how large."""
    model = find_model(run)
    exported = Exported(*load_model(model), unsure_below, unfamiliar_below)
    name = model.stem if comes_with_catdog(model) else model.resolve().parent.name
    path = Path(out) if out else output_folder(model) / f"{name}{SUFFIXES[kind]}"
    if kind == "html":
        from catdog.tools.export.html import write_html as write
    elif kind == "onnx":
        from catdog.tools.export.onnx import write_onnx as write
    else:
        from catdog.tools.export.torch_program import write_program as write
    path.parent.mkdir(parents=True, exist_ok=True)
    write(exported, path)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB; {_NEXT[kind]}")
    return 0


_NEXT = {
    "html": "open it in a browser, or send it to somebody: it needs no network",
    "onnx": "docs/export.md says how to ask it from Python, JavaScript, C++ and a phone",
    "torch": "torch.export.load opens it, without catdog",
}


def about_json(exported: Exported) -> str:
    return json.dumps(exported.about(), ensure_ascii=True, sort_keys=True)
