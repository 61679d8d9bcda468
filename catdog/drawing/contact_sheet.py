"""Draws a contact sheet: small pictures under headings, for `data check` (suspect photos) and `data stats` (means)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catdog.base.atomic import write_atomic
from catdog.base.text import on_one_line
from catdog.errors import CatdogError

_COLUMNS = 8
_SIDE = 144  # pixels of the box that a picture is fitted into
_GAP = 8
_LINE = 14
_CELL = _SIDE + 2 * _GAP  # width of a cell
_ROW = _SIDE + 4 * _LINE  # height of a cell, with two lines of caption
_INK, _PALE = (40, 40, 40), (200, 200, 200)


class Cell(NamedTuple):
    """A picture (uint8, H x W x 3, at most _SIDE x _SIDE) and its caption."""

    pixels: np.ndarray
    caption: str


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


def draw_sheet(sections: Sequence[Section], path: Path) -> None:
    """Draw the sheet and write it as a PNG, atomically."""
    # matplotlib's own font: it covers more scripts than Pillow's.
    import matplotlib

    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 11)
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
    for column, top, content, is_joined in placed:
        if isinstance(content, str):
            ink.text((_GAP, top), _wrap(content, width - 2 * _GAP, font)[0], _INK, font)
        else:
            _draw_cell(sheet, ink, column * _CELL, top, content, is_joined, font)
    write_atomic(path, lambda file: sheet.save(file, "PNG"))


def _draw_cell(sheet: Image.Image, ink: Any, x: int, y: int, cell: Cell, is_joined: bool, font: Any) -> None:
    picture = Image.fromarray(cell.pixels)
    sheet.paste(picture, (x + (_CELL - picture.width) // 2, y + (_SIDE - picture.height) // 2))
    for number, line in enumerate(_wrap(cell.caption, _SIDE, font, lines=2)):
        ink.text((x + _GAP, y + _SIDE + 4 + number * _LINE), line, _INK, font)
    if is_joined:  # an equals sign between two cells of a group
        for above in (-3, 3):
            ink.line((x + _CELL - 5, y + _SIDE // 2 + above, x + _CELL + 5, y + _SIDE // 2 + above), _INK, 2)
    ink.line((x + _GAP, y + _SIDE + 2, x + _CELL - _GAP, y + _SIDE + 2), _PALE)


def _wrap(text: str, width: int, font: Any, lines: int = 1) -> list[str]:
    """Wrap `text` to at most `lines` lines of `width` pixels; if it is longer, its middle becomes an ellipsis."""
    text = on_one_line(text).encode("utf-8", "replace").decode()
    cut, kept = text, len(text)
    while font.getlength(cut) > width * lines * 0.95 and kept > 2:
        kept = min(kept - 1, int(kept * width * lines / font.getlength(cut)))
        cut = f"{text[: kept // 2]}…{text[len(text) - kept // 2 :]}"
    rows = [""]
    for letter in cut:
        if font.getlength(rows[-1] + letter) > width and len(rows) < lines:
            rows.append("")
        rows[-1] += letter
    return rows
