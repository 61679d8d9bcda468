"""How sure a figure of few photos is, in words; and what more photos may give."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catdog.base.text import percent
from catdog.metrics import accuracy_interval

_WANTED = 0.05  # half of an interval that says something
_DRAWS = 2000


def how_sure(right: NDArray[np.bool_], labels: NDArray[np.integer], classes: Sequence[str]) -> list[str]:
    """Sentences on the share of N photos that are answered right: its interval, and what it cannot be told from.

    right: N, whether each is. labels: N, its class.
    """
    correct, count = int(right.sum()), len(right)
    low, high = accuracy_interval(correct, count)
    said = [
        f"of other photos like these, between {low:.0%} and {high:.0%} will be right (19 times in 20)"
        + (f"; {_photos_wanted(correct / count):,} photos make it sure to 5 points" if high - low > 2 * _WANTED else "")
    ]
    commonest = int(np.bincount(labels).argmax())
    share = float((labels == commonest).mean())
    if low <= share:
        always = f"always answering {classes[commonest]}" if share > 1.001 / len(classes) else "guessing"
        said.append(
            f"note: that cannot be told from {always}, which is right on {percent(share)}; it takes more photos, or "
            "photos that show the classes better."
        )
    return said


def _photos_wanted(accuracy: float) -> int:
    """For how many photos the 95% interval of an accuracy reaches 5 points to either side, roughly, to two digits."""
    found = 1.96**2 * max(accuracy * (1 - accuracy), 0.05) / _WANTED**2
    digits = 10 ** (len(str(int(found))) - 2)
    return math.ceil(found / digits) * digits


def learning_curve(of_half: NDArray[np.bool_], of_more: NDArray[np.bool_], share: float) -> str:
    """What more photos gave, and what twice as many may give, where there are mistakes to tell that from; a sentence.

    of_half, of_more: N, whether each photo was answered right by a network of half of the photos, and by one of `share`
    of them. Mistakes are taken to fall by the same factor with each doubling (Hestness et al. 2017), and the photos are
    drawn again, many times, for the range of that.
    """
    measured = (
        f"networks of half of the photos were right on {percent(float(of_half.mean()))}, networks of {share:.0%} on "
        f"{percent(float(of_more.mean()))}"
    )
    if of_more.all():
        return f"{measured}; without a mistake, these photos cannot tell what more of them would give"
    rng = np.random.default_rng(0)
    count = len(of_half)
    rows = rng.integers(0, count, (_DRAWS, count))
    fewer, more = ((count - one[rows].sum(axis=1) + 0.5) / (count + 1) for one in (of_half, of_more))
    factor = np.clip(fewer / more, 1.0, 4.0) ** (-math.log(2 / share) / math.log(share / 0.5))
    low, high = np.quantile(1 - np.clip(more * factor, 0, 1), (0.1, 0.9))
    return f"{measured}; with twice as many photos it may be {low:.0%} to {high:.0%}"
