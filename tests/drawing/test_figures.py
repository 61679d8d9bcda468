"""Figures in any script: letters that the first font lacks come from another one, without a word."""

import warnings
from collections.abc import Iterator

import matplotlib
import numpy as np
import pytest
from matplotlib import rc_context

from catdog.drawing import figures
from catdog.drawing.figures import encode, new_figure
from catdog.tools.explain import graph

CYRILLIC = "\u0416"  # which matplotlib's DejaVu Sans has, and its Computer Modern (cmr10) has not


@pytest.fixture(autouse=True)
def _forget_fonts() -> Iterator[None]:
    figures.fallback_fonts.cache_clear()
    yield
    figures.fallback_fonts.cache_clear()


def drawn(text: str, font: str) -> np.ndarray:
    with rc_context({"font.family": font}):
        figure = new_figure(2, 2)
        figure.text(0.5, 0.5, text, fontsize=30)
        return np.asarray(graph.render(figure))


def test_a_letter_that_the_font_lacks_is_drawn_in_the_next_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_EAST_ASIAN", ("No Such Font", "DejaVu Sans"))
    np.testing.assert_array_equal(drawn(CYRILLIC, "cmr10"), drawn(CYRILLIC, "DejaVu Sans"))
    assert (drawn("a", "cmr10") != drawn("a", "DejaVu Sans")).any()  # what the font has stays in it


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_where_no_font_has_a_letter_nothing_is_said(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_EAST_ASIAN", ("No Such Font",))
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = new_figure(2, 2)
        axes = figure.subplots()
        axes.set_xticks([0, 1], ["\u732b", "\u72d7"])  # cat, dog
        axes.set_title("\u732b")
        assert len(encode(figure, kind)) > 1000
    assert dict(matplotlib.rcParams) == before
