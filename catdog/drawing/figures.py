"""Makes matplotlib figures that can show text in any script, and writes them to files."""

import functools
import io
from pathlib import Path
from textwrap import wrap
from typing import Any

from catdog.base.atomic import write_atomic
from catdog.drawing.fonts import drawable, families_for


def new_figure(width: float, height: float) -> Any:
    """Make a matplotlib figure of width x height inches, without a display and without pyplot's global state.

    Its text may be in any script for which the system has a font.
    """
    return _figure_class()(figsize=(width, height), layout="constrained", dpi=120)


@functools.cache
def _figure_class() -> Any:
    from matplotlib import rc_context, rcParams  # takes a while to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.ticker import FixedLocator

    class PlainText(Figure):
        """A figure whose text is drawn as it stands, not as a formula, in fonts that have its characters."""

        def draw(self, renderer: Any) -> None:
            axes = [axis for one in self.findobj(Axes) for axis in (one.xaxis, one.yaxis)]
            labels = [axis.get_ticklabels() for axis in axes]  # brings their texts up to date
            texts = self.findobj(Text)
            families = families_for("".join(text.get_text() for text in texts), rcParams["font.family"])
            for text in texts:
                text.set(text=drawable(text.get_text(), families), fontfamily=families, parse_math=False)
            for axis, of_axis in zip(axes, labels, strict=True):
                if isinstance(axis.get_major_locator(), FixedLocator):  # or its formatter writes them again
                    axis.set_ticklabels([text.get_text() for text in of_axis])
                if axis.get_scale() == "log":  # its numbers are formulas, 10^-3
                    for text in axis.get_ticklabels(which="both"):
                        text.set_parse_math(True)
            parts: tuple[Any, ...] = (self, *self.subfigs)
            for part in parts:
                for title in part.texts:
                    title.set_text(_wrap(title, part.bbox.width, renderer))
            with rc_context({"font.family": families}):
                super().draw(renderer)

    return PlainText


def _wrap(title: Any, room: float, renderer: Any) -> str:
    """Break the lines of a title that are wider than `room` pixels; matplotlib would take `$` in them for a formula."""
    lines: list[str] = []
    for line in title.get_text().split("\n"):
        width, *_ = renderer.get_text_width_height_descent(line, title.get_fontproperties(), False)
        lines += wrap(line, int(len(line) * 0.95 * room / width)) if width > room else [line]
    return "\n".join(lines)


def legend_below(*axes: Any) -> None:
    """Make one legend for these axes, below all the axes of their figure, where it hides no point."""
    entries = {label: handle for one in axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)}
    axes[0].figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries), frameon=False
    )


def encode(figure: Any, kind: str) -> bytes:
    """Render the figure to the bytes of a file, in a format of matplotlib: "png", "svg", "jpg"."""
    data = io.BytesIO()
    figure.savefig(data, format=kind)
    return data.getvalue()


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure atomically, in the format of the path's suffix."""
    data = encode(figure, path.suffix.removeprefix("."))
    write_atomic(path, lambda file: file.write(data))
