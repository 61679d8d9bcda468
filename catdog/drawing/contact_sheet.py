"""Draws a contact sheet: small pictures under headings, for `data check`, `data stats` (means) and `evaluate`."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catdog.base.atomic import write_atomic
from catdog.base.text import on_one_line
from catdog.drawing.fonts import drawable, families_for, find_font, glyphs
from catdog.errors import CatdogError

_COLUMNS = 8
_SIDE = 144  # pixels of the box that a picture is fitted into
_GAP = 8
_LINE = 14
_CELL = _SIDE + 2 * _GAP  # width of a cell
_ROW = _SIDE + 4 * _LINE  # height of a cell, with two lines of caption
_INK, _PALE = (40, 40, 40), (200, 200, 200)


class Cell(NamedTuple):
    """A picture (uint8, H x W x 3, at most _SIDE x _SIDE), its caption on two lines, or on one with a path below it."""

    pixels: np.ndarray
    caption: str
    path: str = ""


class Section(NamedTuple):
    """A heading and groups of cells; the cells of a group are joined by equals signs."""

    heading: str
    groups: Sequence[Sequence[Cell]]


def enlarge(pixels: np.ndarray) -> np.ndarray:
    """Resize a picture (uint8, H x W x 3) to fit a cell, without interpolation, so that its pixels can be seen."""
    height, width = fitted_size(*pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST))


def fitted_size(height: int, width: int) -> tuple[int, int]:
    """Scale (height, width), up or down, to fit a cell."""
    scale = _SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def require_png(out: str, photos: Path) -> Path:
    """Return `out` as a path; raise CatdogError if it is not a .png, its folder is missing, or it lies in `photos`."""
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise CatdogError(f"--out {out} must end in .png; give another name.")
    if not path.parent.is_dir():
        raise CatdogError(f"there is no folder {path.parent} for --out {out}; make it, or give another.")
    if path.parent.resolve().is_relative_to(photos.resolve()):
        raise CatdogError(f"--out {out} lies among the photos, where nothing is written; give a path outside {photos}.")
    return path


class _Writer:
    """Measures and draws lines of text, each character in the first font that has it."""

    def __init__(self, text: str) -> None:
        self.families = families_for(text, ["DejaVu Sans"])
        files = [find_font(family) for family in self.families]
        self.fonts = [
            (glyphs(file), ImageFont.truetype(file, 11, index=getattr(file, "face_index", 0))) for file in files
        ]

    def wrap(self, text: str, width: int, lines: int = 1) -> list[str]:
        """Wrap a text to at most `lines` lines of `width` pixels; if it is longer, its middle becomes an ellipsis."""
        text = drawable(on_one_line(text), self.families)
        cut, kept = text, len(text)
        while self.length(cut) > width * lines * 0.95 and kept > 2:
            kept = min(kept - 1, int(kept * width * lines / self.length(cut)))
            cut = f"{text[: kept // 2]}…{text[len(text) - kept // 2 :]}"
        rows = [""]
        for letter in cut:
            if self.length(rows[-1] + letter) > width and len(rows) < lines:
                rows.append("")
            rows[-1] += letter
        return rows

    def length(self, line: str) -> float:
        """Width of a line in pixels."""
        return sum(font.getlength(part) for font, part in self._parts(line))

    def draw(self, ink: Any, x: float, y: int, line: str) -> None:
        """Draw a line with its baseline _LINE - 3 pixels below y."""
        for font, part in self._parts(line):
            ink.text((x, y + _LINE - 3), part, _INK, font, anchor="ls")
            x += font.getlength(part)

    def _parts(self, line: str) -> Iterator[tuple[Any, str]]:
        """Split a line, which was made drawable, into parts of one font each."""
        by_font = groupby(line, lambda c: next(font for known, font in self.fonts if ord(c) in known))
        return ((font, "".join(letters)) for font, letters in by_font)


def draw_sheet(sections: Sequence[Section], path: Path) -> None:
    """Draw the sheet and write it as a PNG, atomically."""
    sheet = make_sheet(sections)
    write_atomic(path, lambda file: sheet.save(file, "PNG"))


def make_sheet(sections: Sequence[Section]) -> Image.Image:
    """Draw the sheet."""
    placed: list[tuple[int, int, Cell | str, bool]] = []  # column, y, content, whether it is joined to the next cell
    y = _GAP
    for heading, groups in sections:
        placed.append((0, y, heading, False))
        y += 2 * _LINE
        column = 0
        for group in groups:
            if column and column + len(group) > _COLUMNS:
                column, y = 0, y + _ROW
            for number, cell in enumerate(group):
                if column == _COLUMNS:
                    column, y = 0, y + _ROW
                placed.append((column, y, cell, number + 1 < len(group)))
                column += 1
        y += (_ROW if groups else 0) + _GAP
    width = _CELL * max(_COLUMNS // 2, 1 + max(column for column, *_ in placed))
    sheet = Image.new("RGB", (width, y), "white")
    ink = ImageDraw.Draw(sheet)
    writer = _Writer("".join(part if isinstance(part, str) else part.caption + part.path for _, _, part, _ in placed))
    for column, top, content, is_joined in placed:
        if isinstance(content, str):
            writer.draw(ink, _GAP, top, writer.wrap(content, width - 2 * _GAP)[0])
        else:
            _draw_cell(sheet, ink, column * _CELL, top, content, is_joined, writer)
    return sheet


def _draw_cell(sheet: Image.Image, ink: Any, x: int, y: int, cell: Cell, is_joined: bool, writer: _Writer) -> None:
    picture = Image.fromarray(cell.pixels)
    sheet.paste(picture, (x + (_CELL - picture.width) // 2, y + (_SIDE - picture.height) // 2))
    below = writer.wrap(cell.path, _SIDE) if cell.path else []
    for number, line in enumerate(writer.wrap(cell.caption, _SIDE, lines=2 - len(below)) + below):
        writer.draw(ink, x + _GAP, y + _SIDE + 4 + number * _LINE, line)
    if is_joined:  # an equals sign between two cells of a group
        for above in (-3, 3):
            ink.line((x + _CELL - 5, y + _SIDE // 2 + above, x + _CELL + 5, y + _SIDE // 2 + above), _INK, 2)
    ink.line((x + _GAP, y + _SIDE + 2, x + _CELL - _GAP, y + _SIDE + 2), _PALE)
