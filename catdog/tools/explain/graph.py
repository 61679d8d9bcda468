"""Draws a network as a graph: on each edge the forward value in green above, a gradient or new weight in red below.

Also renders matplotlib figures as PNG and SVG.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catdog.base.atomic import write_atomic

# Green and red that are told apart with any colour vision; their places say it too: above the line and below.
FORWARD = "#00736b"
BACKWARD = "#d7301f"
INK = "#24292f"
PALE = "#8c959f"


@dataclass(frozen=True)
class Node:
    """Circle at (x, y), or text alone where `radius` is 0; `note` is printed below it, or above (`note_side` 1)."""

    x: float
    y: float
    label: str
    note: str = ""
    radius: float = 0.32
    fill: str = "#f3f6fa"
    note_side: int = -1


@dataclass(frozen=True)
class Edge:
    """Arrow between two nodes, by name; its labels `above` and `below` are at the fraction `at` of its length."""

    start: str
    end: str
    above: str = ""
    below: str = ""
    at: float = 0.5
    faint: bool = False


def render(figure: Any) -> Image.Image:
    """Render the figure as an RGB image, and fix its layout so that `svg` draws the same one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def png(image: Image.Image) -> bytes:
    """Encode the image as PNG."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def svg(figure: Any) -> bytes:
    """Render the figure as SVG; the same figure gives the same bytes."""
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "catdog"}):
        figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()


def save(figure: Any, stem: Path) -> list[Path]:
    """Write the figure as STEM.png and STEM.svg; returns their paths."""
    return save_both(png(render(figure)), svg(figure), stem)


def save_both(as_png: bytes, as_svg: bytes, stem: Path) -> list[Path]:
    """Write encoded pictures to STEM.png and STEM.svg; returns their paths."""
    files = {stem.with_name(f"{stem.name}.png"): as_png, stem.with_name(f"{stem.name}.svg"): as_svg}
    for path, data in files.items():
        write_atomic(path, lambda file, data=data: file.write(data))  # type: ignore[misc]
    return list(files)


def draw(axes: Any, nodes: Mapping[str, Node], edges: Sequence[Edge], font: float = 8.5) -> None:
    """Draw the graph into `axes`, at equal scale in both directions. font: size in points."""
    for edge in edges:
        _draw_edge(axes, nodes[edge.start], nodes[edge.end], edge, font)
    for node in dict.fromkeys(nodes.values()):  # one may go by two names
        if node.radius:
            from matplotlib.patches import Circle

            axes.add_patch(Circle((node.x, node.y), node.radius, facecolor=node.fill, edgecolor=INK, zorder=3))
        axes.text(node.x, node.y, node.label, ha="center", va="center", fontsize=font, color=INK, zorder=4)
        if node.note:
            axes.text(
                node.x,
                node.y + node.note_side * (node.radius + 0.07),
                node.note,
                ha="center",
                va="top" if node.note_side < 0 else "bottom",
                fontsize=font,
                color=FORWARD,
                zorder=4,
                linespacing=1.35,
            )
    around = 0.75
    axes.set_xlim(min(n.x for n in nodes.values()) - around, max(n.x for n in nodes.values()) + around)
    axes.set_ylim(min(n.y for n in nodes.values()) - around, max(n.y for n in nodes.values()) + around)
    axes.set_aspect("equal")
    axes.axis("off")


def _draw_edge(axes: Any, start: Node, end: Node, edge: Edge, font: float) -> None:
    length = math.hypot(end.x - start.x, end.y - start.y)
    across, up = (end.x - start.x) / length, (end.y - start.y) / length
    tail = (start.x + across * (start.radius or 0.3), start.y + up * (start.radius or 0.3))
    head = (end.x - across * (end.radius or 0.3), end.y - up * (end.radius or 0.3))
    axes.annotate(
        "",
        xy=head,
        xytext=tail,
        arrowprops={
            "arrowstyle": "-|>",
            "color": PALE if edge.faint else INK,
            "linewidth": 0.6 if edge.faint else 0.9,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 9,
        },
        zorder=1,
    )
    x, y = tail[0] + edge.at * (head[0] - tail[0]), tail[1] + edge.at * (head[1] - tail[1])
    for text, colour, side, anchor in ((edge.above, FORWARD, 1, "bottom"), (edge.below, BACKWARD, -1, "top")):
        if text:
            axes.text(
                x - up * side * 0.045,
                y + across * side * 0.045,
                text,
                ha="center",
                va=anchor,
                rotation=math.degrees(math.atan2(up, across)),
                rotation_mode="anchor",
                fontsize=font,
                color=colour,
                zorder=2,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
            )


def legend(axes: Any, above: str, below: str, font: float = 9) -> None:
    """Print below the graph, at the right, what the labels in green and in red mean."""
    axes.text(1, 0, above, color=FORWARD, fontsize=font, transform=axes.transAxes, ha="right", va="top")
    axes.text(1, 0, "\n" + below, color=BACKWARD, fontsize=font, transform=axes.transAxes, ha="right", va="top")
