"""Makes matplotlib figures that can show text in any script, and writes them to files."""

import functools
import io
import logging
import warnings
from pathlib import Path
from typing import Any

from catdog.base.atomic import write_atomic

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its notes on fonts and caches are no concern of the user

# Fonts with Chinese, Japanese and Korean glyphs, which matplotlib's own lacks: those of Linux, macOS, Windows.
_EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Arial Unicode MS",
    "Microsoft YaHei", "SimHei", "SimSun",
)  # fmt: skip


def new_figure(width: float, height: float) -> Any:
    """Make a matplotlib figure of width x height inches, without a display and without pyplot's global state.

    Its text may be in any script for which the system has a font.
    """
    return _figure_class()(figsize=(width, height), layout="constrained", dpi=120)


@functools.cache
def _figure_class() -> Any:
    from matplotlib import rc_context, rcParams  # takes a while to import
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    class AnyScript(Figure):
        """A figure whose text falls back to further fonts for glyphs that the first one lacks."""

        def draw(self, renderer: Any) -> None:
            families = [*rcParams["font.family"], *fallback_fonts()]
            for text in self.findobj(Text):
                text.set_fontfamily(families)
            with rc_context({"font.family": families}), warnings.catch_warnings():
                # Where no font has a glyph, a box is drawn; the user needs no warning.
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
                super().draw(renderer)

    return AnyScript


@functools.cache
def fallback_fonts() -> list[str]:
    """Names of the fonts in _EAST_ASIAN that the system has."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in _EAST_ASIAN if name in installed]


def encode(figure: Any, kind: str) -> bytes:
    """Render the figure to the bytes of a file, in a format of matplotlib: "png", "svg", "jpg"."""
    data = io.BytesIO()
    figure.savefig(data, format=kind)
    return data.getvalue()


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure atomically, in the format of the path's suffix."""
    data = encode(figure, path.suffix.removeprefix("."))
    write_atomic(path, lambda file: file.write(data))
