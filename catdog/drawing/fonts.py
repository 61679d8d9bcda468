"""Chooses installed fonts for text in any script, and makes names fit for a picture. matplotlib's list of fonts serves.

A character that no installed font has is drawn as its escape, `\\u732b`, which tells two names apart where two boxes
would not; what to install is printed once.
"""

import functools
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from unicodedata import east_asian_width

from catdog.base.text import on_one_line

# Fonts with Chinese, Japanese and Korean characters, which matplotlib's own lacks: those of Linux, macOS, Windows. They
# are asked before all other installed fonts.
_EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback",
    "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Arial Unicode MS",
    "Microsoft YaHei", "SimHei", "SimSun",
)  # fmt: skip
_LONGEST = 24  # columns of a name in a picture
# matplotlib's warnings are about the weights of fonts and the folder of its cache: nothing that a user could mend.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
_said: list[str] = []  # what was printed: once is enough


def shorten(name: str, longest: int = _LONGEST) -> str:
    """Put a name of a class or file on one line of at most `longest` columns: of a longer one the middle is left out.

    An East Asian character is two columns wide.
    """
    name = on_one_line(name)
    if _columns(name) <= longest:
        return name
    return f"{_start(name, longest // 2)}…{_start(name[::-1], longest // 2)[::-1]}"


def _columns(text: str) -> int:
    return sum(1 + (east_asian_width(c) in "FW") for c in text)


def _start(text: str, columns: int) -> str:
    while text and _columns(text) > columns:
        text = text[:columns] if len(text) > columns else text[:-1]
    return text


def drawable(text: str, families: Sequence[str]) -> str:
    """Escape the characters of a text that cannot be drawn in these fonts; line breaks are kept."""
    known = _glyphs_of(families)
    lines = map(on_one_line, text.split("\n"))
    return "\n".join("".join(c if ord(c) in known else ascii(c)[1:-1] for c in line) for line in lines)


def families_for(text: str, first: Sequence[str]) -> list[str]:
    """Choose the fonts for a text: the families in `first`, then as many installed ones as it takes.

    Prints once what to install where characters are in no font.
    """
    missing = {c for c in text if c.isprintable()}.difference(map(chr, _glyphs_of(first)))
    families = list(first)
    if missing:
        for family in _installed():
            found = {c for c in missing if ord(c) in glyphs(find_font(family))}
            if found:
                families.append(family)
                missing -= found
            if not missing:
                break
    if missing:
        _say_what_to_install("".join(sorted(missing)[:3]))
    return families


def _glyphs_of(families: Sequence[str]) -> frozenset[int]:
    return frozenset().union(*(glyphs(find_font(family)) for family in families))


def find_font(family: str) -> Any:
    """Find the file of a font, or of matplotlib's default where there is no such font."""
    from matplotlib.font_manager import FontProperties, findfont

    return findfont(FontProperties(family=[family]))


@functools.cache
def glyphs(path: Any) -> frozenset[int]:
    """Code points of the characters that a font has."""
    from matplotlib.font_manager import get_font

    return frozenset(get_font(path).get_charmap())


@functools.cache
def _installed() -> Sequence[str]:
    """Names of the system's fonts: those in _EAST_ASIAN, then the others by their names."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import findSystemFonts, fontManager

    for path in set(findSystemFonts()) - {entry.fname for entry in fontManager.ttflist}:
        with suppress(OSError, RuntimeError, NotImplementedError):  # a font that matplotlib cannot use
            fontManager.addfont(path)  # was installed after matplotlib had made its list
    # Some of matplotlib's own are for formulas and have other characters at those code points.
    own = get_data_path()
    names = {entry.name for entry in fontManager.ttflist if not entry.fname.startswith(own)}
    return [*(name for name in _EAST_ASIAN if name in names), *sorted(names.difference(_EAST_ASIAN))]


def _say_what_to_install(example: str) -> None:
    if not _said:
        _said.append(example)
        print(
            f"catdog: no installed font has {example}, so the pictures show {ascii(example)[1:-1]} instead; install "
            "one that has, on Debian and Ubuntu: sudo apt-get install fonts-noto-cjk fonts-noto-core fonts-symbola",
            file=sys.stderr,
        )
