"""`catdog export`: one file that answers without catdog, as an ONNX graph, a torch.export program or a web page."""

from pathlib import Path

from catdog.base.atomic import cannot_write
from catdog.base.progress import working
from catdog.checkpoint.saved_model import load_model
from catdog.errors import CatdogError
from catdog.runs.locate import comes_with_catdog, find_model, output_folder
from catdog.tools.export.exported import Exported

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "html": ".html"}


def main(run: str | None, kind: str, out: str | None, unsure_below: float, unfamiliar_below: float) -> int:
    """Write the export, and print what it is and how large."""
    model = find_model(run)
    tensors, card = load_model(model)
    exported = Exported(tensors, card, unsure_below, unfamiliar_below)
    name = model.stem if comes_with_catdog(model) else model.resolve().parent.name
    path = Path(out) if out else output_folder(model) / f"{name}{SUFFIXES[kind]}"
    if path.suffix.lower() != SUFFIXES[kind]:  # it may be a photo, or the model
        raise CatdogError(f"--out {out} must end in {SUFFIXES[kind]}; give another name.")
    with working(f"writing {path.name}"):
        if kind == "html":
            from catdog.tools.export.html import write_html as write
        elif kind == "onnx":
            from catdog.tools.export.onnx import write_onnx as write
        else:
            from catdog.tools.export.torch_program import write_program as write
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from None
        write(exported, path)
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB; {_NEXT[kind]}")
    return 0


_NEXT = {
    "html": "open it in a browser, or send it to somebody: it needs no network",
    "onnx": "docs/export.md says how to ask it from Python, JavaScript, C++ and a phone",
    "torch": "torch.export.load opens it, without catdog",
}
