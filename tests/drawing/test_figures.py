"""Figures draw any text as it stands: never as a formula, in fonts that have its characters, within the figure."""

import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from catdog.drawing import fonts
from catdog.drawing.figures import encode, legend_below, new_figure
from catdog.tools.explain import graph

CYRILLIC = "\u0416"  # which matplotlib's DejaVu Sans has, and its Computer Modern (cmr10) has not
CAT, DOG = "\u732b", "\u72d7"


@pytest.fixture
def system_fonts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets which fonts the system has."""

    def have(*names: str) -> None:
        monkeypatch.setattr(fonts, "_installed", lambda: names)
        monkeypatch.setattr(fonts, "_said", [])

    return have


def plain_figure(width: float, height: float) -> Any:
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def drawn(text: str, make: Callable[[float, float], Any] = new_figure) -> np.ndarray:
    """A picture with the text as labels of a tick and an axis, in a legend, and as titles."""
    figure = make(9, 4)
    axes = figure.subplots()
    axes.plot([0, 1], label=text)
    axes.set_xticks([0, 1], [text, "1"])
    axes.set_ylabel(text)
    axes.set_title(text)
    axes.legend(loc="center")
    figure.suptitle(text)
    return np.asarray(graph.render(figure))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("$", "$"),
        ("$$", r"\$\$"),
        ("$1 and $5", r"\$1 and \$5"),
        ("$x^{$", r"\$x^{\$"),
        (r"a_b^c\frac{1}{2}", r"a_b^c\frac{1}{2}"),
    ],
)
def test_no_text_is_a_formula(text: str, escaped: str) -> None:
    np.testing.assert_array_equal(drawn(text), drawn(escaped, plain_figure))


def test_the_numbers_of_a_logarithmic_axis_are_still_formulas() -> None:
    def picture(make: Callable[[float, float], Any]) -> np.ndarray:
        figure = make(4, 3)
        figure.subplots().loglog([1e-6, 1e-3], [2, 3000])
        return np.asarray(graph.render(figure))

    np.testing.assert_array_equal(picture(new_figure), picture(plain_figure))


def test_a_letter_that_the_font_lacks_is_drawn_in_the_next_font(system_fonts: Callable[..., None]) -> None:
    def picture(text: str, font: str) -> np.ndarray:
        with rc_context({"font.family": font}):
            figure = new_figure(2, 2)
            figure.text(0.5, 0.5, text, fontsize=30)
            return np.asarray(graph.render(figure))

    system_fonts("DejaVu Sans")
    np.testing.assert_array_equal(picture(CYRILLIC, "cmr10"), picture(CYRILLIC, "DejaVu Sans"))
    assert (picture("a", "cmr10") != picture("a", "DejaVu Sans")).any()  # what the font has stays in it


@pytest.mark.parametrize(
    ("text", "escape"), [(CAT, r"\u732b"), ("\udcff", r"\udcff"), ("a\tb\x00", r"a\tb\x00"), (f"a{DOG}b", r"a\u72d7b")]
)
def test_what_no_font_has_is_drawn_as_its_escape(text: str, escape: str, system_fonts: Callable[..., None]) -> None:
    system_fonts()
    np.testing.assert_array_equal(drawn(text), drawn(escape))


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_what_to_install_is_printed_once(
    kind: str, system_fonts: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    system_fonts()
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in (CAT, DOG, "\udcff", "\n"):
            figure = new_figure(2, 2)
            figure.subplots().set_xticks([0, 1], [text, text])
            assert len(encode(figure, kind)) > 1000
    assert dict(matplotlib.rcParams) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert CAT in line
    assert "apt-get install fonts-noto-cjk" in line


def test_a_title_wider_than_the_figure_is_wrapped() -> None:
    figure = new_figure(4, 3)
    figure.subplots()
    title = figure.suptitle("a title of many words " * 5)
    graph.render(figure)
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_a_legend_below_hides_nothing_of_the_axes() -> None:
    figure = new_figure(8, 3)
    both = figure.subplots(1, 2)
    for axes in both:
        axes.plot([0, 1], label="same")
        axes.set_xlabel("x")
    both[1].plot([1, 0], label="other")
    legend_below(*both)
    graph.render(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["same", "other"]
    assert legend.get_window_extent().y1 <= min(axes.get_tightbbox().y0 for axes in both)
