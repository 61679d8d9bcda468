"""`catdog explain`: the forward and backward pass of one photo in float64, as text, picture and HTML page.

Numbers: backprop, loss, gradient_check, learned, gathered in explanation; text: summary, and words for --full;
drawings: *_picture, graph, picture; notebook is all of it, short, for notebooks. scalar and textbook hold the worked
examples of textbooks; narrate prints the first step of a training, whose numbers are first_step's.
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.tools.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
__getattr__ = offer(__name__, {"Explanation": "explanation", "explain": "explanation"})
