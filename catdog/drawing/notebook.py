"""Small pieces of HTML for notebooks: what `_repr_html_` of answers, explanations and evaluations is made of.

A notebook may be light or dark whatever the system is, so text has the colour that it has around it, and all else
colours that can be told from white and from black. Styles are inline; there is no script and no id, and nothing is
loaded from elsewhere.
"""

import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catdog.base.text import in_utf8, on_one_line
from catdog.drawing.page import data_url

_ROWS = 8  # of bars, at most
_SIDE = 240  # pixels of a picture, at most
_FIRST, _OTHER, _LINE, _EMPTY = "#0a8a80", "#8a929a", "#8a929a66", "#8a929a33"
_CELL = "padding:.15em .8em .15em 0;border:0;background:none"


def panel(title: str, *parts: str) -> str:
    """A frame with a title; parts: HTML."""
    head = f'<div style="font-size:1.25em;font-weight:600;overflow-wrap:anywhere">{text(title)}</div>'
    return (
        '<div style="display:inline-block;box-sizing:border-box;max-width:100%;padding:.8em 1em;border-radius:8px;'
        f'border:1px solid {_LINE};font:14px/1.5 system-ui,sans-serif;color:inherit;text-align:left">'
        f"{head}{''.join(parts)}</div>"
    )


def text(words: str) -> str:
    """Words in HTML, whatever is in them: names of files and classes may hold tags, and bytes that are no text."""
    return escape(in_utf8(on_one_line(words)))


def note(words: str) -> str:
    """A paragraph, paler than the title."""
    return f'<div style="max-width:46em;margin:.3em 0 0;opacity:.8">{text(words)}</div>' if words else ""


def bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """A bar for each of (name, share from 0 to 1, its words); of many the first few. The very first is the answer's."""
    shown = "".join(
        f'<tr style="background:none"><td style="{_CELL};max-width:16em;text-align:left;overflow-wrap:anywhere">'
        f'{text(name)}</td><td style="{_CELL};width:12em;vertical-align:middle">'
        f'<div style="height:.7em;border-radius:.35em;overflow:hidden;background:{_EMPTY}">'
        f'<div style="height:100%;width:{100 * share:.2f}%;background:{_OTHER if i else _FIRST}"></div></div></td>'
        f'<td style="{_CELL};text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap">{text(words)}</td>'
        "</tr>"
        for i, (name, share, words) in enumerate(rows[:_ROWS])
    )
    more = note(f"and {len(rows) - _ROWS:,} more") if len(rows) > _ROWS else ""
    return f'<table style="border-collapse:collapse;border:0;margin:.4em 0 0;font:inherit">{shown}</table>{more}'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words; the first column names the row."""
    cell = f"{_CELL};border-bottom:1px solid {_LINE};font-variant-numeric:tabular-nums;text-align"
    sides = ["left", *["right"] * (len(head) - 1)]
    first = "".join(
        f'<th style="{cell}:{side};font-weight:600">{text(w)}</th>' for w, side in zip(head, sides, strict=True)
    )
    others = "".join(
        '<tr style="background:none">'
        + "".join(f'<td style="{cell}:{side}">{text(w)}</td>' for w, side in zip(row, sides, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse:collapse;border:0;margin:.7em 0 0;font:inherit">'
        f'<tr style="background:none">{first}</tr>{others}</table>'
    )


def pictures(shown: Sequence[tuple[NDArray[np.uint8], str]]) -> str:
    """Pictures side by side: (uint8, H x W x 3; what it is)."""
    figures = "".join(
        f'<div><img alt="{text(words)}" src="{data_url(_jpeg(pixels), "jpeg")}" style="display:block;margin:0;'
        f'width:14em;max-width:100%;border-radius:6px"><div style="opacity:.8">{text(words)}</div></div>'
        for pixels, words in shown
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:.8em;margin:.6em 0 0">{figures}</div>'


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    image, data = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((_SIDE, _SIDE))
    image.save(data, "JPEG", quality=90, subsampling=0)
    return data.getvalue()


def answer(label: str, probabilities: dict[str, float], familiarity: float | None) -> str:
    """The HTML of an answer of `catdog.predict.Classifier`."""
    ranked = sorted(probabilities.items(), key=lambda one: (one[0] != label, -one[1]))
    known = ""
    if familiarity is not None:
        known = f"Of photos like those it was trained on, {1 - familiarity:.0%} are more like them than this one."
    rows = [(name, share, f"{share:.1%}") for name, share in ranked]
    return panel(f"{label} {probabilities[label]:.1%}", bars(rows), note(known))
