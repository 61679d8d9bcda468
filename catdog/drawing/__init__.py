"""Pictures and pages.

fonts           installed fonts for text in any script
figures         matplotlib figures that need no display; curves: loss and accuracy over the epochs
notebook        pieces of HTML for notebooks
page            an HTML page in one file; colours: those of the pages that have scripts
contact_sheet   many photos on one picture
"""

from typing import TYPE_CHECKING

from catdog.base.lazy import offer

if TYPE_CHECKING:
    from catdog.drawing.contact_sheet import draw_sheet
    from catdog.drawing.curves import draw_curves
    from catdog.drawing.figures import new_figure, save_figure

__all__ = ["draw_curves", "draw_sheet", "new_figure", "save_figure"]
__getattr__ = offer(
    __name__,
    {"new_figure": "figures", "save_figure": "figures", "draw_curves": "curves", "draw_sheet": "contact_sheet"},
)
