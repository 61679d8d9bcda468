"""Where matplotlib's figures come from, and how they become files."""

import functools
import io
import warnings
from pathlib import Path
from typing import Any

from catdog.base.atomic import write_atomic

# Fonts with the letters of Chinese, Japanese and Korean, which matplotlib's own lacks: those of Linux, macOS, Windows.
_EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Arial Unicode MS",
    "Microsoft YaHei", "SimHei", "SimSun",
)  # fmt: skip


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure that needs no screen and leaves matplotlib's own state alone.

    What it says may be in any script of which the system has a font.
    """
    return _figure_class()(figsize=(width, height), layout="constrained", dpi=120)


@functools.cache
def _figure_class() -> Any:
    from matplotlib import rc_context, rcParams  # takes a while to import
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    class AnyScript(Figure):
        """A figure whose texts look in further fonts for the letters that the first one lacks."""

        def draw(self, renderer: Any) -> None:
            families = [*rcParams["font.family"], *fallback_fonts()]
            for text in self.findobj(Text):
                text.set_fontfamily(families)
            with rc_context({"font.family": families}), warnings.catch_warnings():
                # Where no font has a letter, a box is drawn; that is no news to the user.
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
                super().draw(renderer)

    return AnyScript


@functools.cache
def fallback_fonts() -> list[str]:
    """The names of those fonts of East Asian scripts that the system has."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in _EAST_ASIAN if name in installed]


def encode(figure: Any, kind: str) -> bytes:
    """The figure as a file of a kind that matplotlib writes: "png", "svg", "jpg"."""
    data = io.BytesIO()
    figure.savefig(data, format=kind)
    return data.getvalue()


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as the kind of file that the path's ending names, atomically."""
    data = encode(figure, path.suffix.removeprefix("."))
    write_atomic(path, lambda file: file.write(data))
