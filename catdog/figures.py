"""Where matplotlib's figures come from, and how they become files."""

import io
from pathlib import Path
from typing import Any

from catdog.checkpoint import write_atomic


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure that needs no screen and leaves matplotlib's own state alone."""
    from matplotlib.figure import Figure  # takes a while to import

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def encode(figure: Any, kind: str) -> bytes:
    """The figure as a file of a kind that matplotlib writes: "png", "svg", "jpg"."""
    data = io.BytesIO()
    figure.savefig(data, format=kind)
    return data.getvalue()


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as the kind of file that the path's ending names, atomically."""
    data = encode(figure, path.suffix.removeprefix("."))
    write_atomic(path, lambda file: file.write(data))
