"""An explanation as HTML for a notebook: the answer, and which pixels of the photo spoke for it."""

from typing import TYPE_CHECKING

import numpy as np

from catdog.drawing.notebook import bars, note, panel, pictures
from catdog.tools.explain.learned import overlay

if TYPE_CHECKING:
    from catdog.tools.explain.explanation import Explanation


def as_html(e: "Explanation") -> str:
    """What `_repr_html_` of an explanation returns."""
    photo, shares = e.pixels.transpose(1, 2, 0), e.attribution
    first, second = e.classes[shares.first], e.classes[shares.second]
    tinted = (255 * overlay(photo, shares.pixels)).round().astype(np.uint8)
    order = np.argsort(-e.final, kind="stable")
    return panel(
        f"{e.answer}  {e.title}",
        bars([(e.classes[i], float(e.final[i]), f"{e.final[i]:.1%}") for i in order]),
        pictures([(photo, "as the network sees it"), (tinted, f"orange: for {first}; blue: for {second}")]),
        note(
            f"The score of {first} less that of {second} is {shares.difference:+.2f}: {shares.pixels.sum():+.2f} from "
            f"the pixels, {shares.biases:+.2f} from the biases."
        ),
    )
