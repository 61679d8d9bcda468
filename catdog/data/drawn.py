"""Drawn cats and dogs, for whoever has no photos yet: seeded, of any size and number, made of nothing but polygons.

What tells the two apart is their shape alone (ears, muzzle, eyes, tail): coat, place, light, pose and clutter are drawn
from the same distributions for both.
"""

import colorsys
import hashlib
import itertools
import math
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from catdog.base.progress import bar
from catdog.base.threads import thread_count
from catdog.base.work_folder import claimed_folder, remove_abandoned
from catdog.base.worker import start_python
from catdog.config.settings import Photos
from catdog.data.cache_folder import DRAWN, default_folder, folder_of, is_writable
from catdog.data.listing import Listing
from catdog.errors import CatdogError, ImageError
from catdog.images.packed_paths import open_photo

CLASSES = ("cat", "dog")
VERSION = 1  # raise it when the same arguments draw something else
_UNFINISHED = ".drawing-"  # how the folder is called until all is drawn
DEFAULT_COUNT = 6000
DEFAULT_SIZE = (96, 96)
_SUPERSAMPLING = 2
_COMMENT = b"drawn by catdog"  # in the header of each JPEG, so that it is not taken for a photograph
_LOOKED_AT = 2000  # headers read to tell drawings from photographs

Point = tuple[float, float]
Colour = tuple[int, int, int]

_COATS: tuple[Colour, ...] = (
    (44, 40, 42),  # black
    (120, 120, 128),  # grey
    (166, 172, 184),  # silver
    (240, 234, 224),  # white
    (226, 142, 66),  # ginger
    (126, 80, 50),  # brown
    (84, 56, 42),  # chocolate
    (224, 190, 140),  # cream
    (196, 150, 96),  # fawn
)
_EYES: tuple[Colour, ...] = ((104, 158, 72), (214, 168, 52), (92, 148, 196), (112, 70, 38), (60, 44, 36))


def draw(label: str, seed: int, size: tuple[int, int] = DEFAULT_SIZE) -> Image.Image:
    """One drawing of a "cat" or a "dog": RGB, `size` = (height, width). The same arguments draw the same picture."""
    digest = hashlib.blake2b(f"{label}/{seed}".encode(), digest_size=8).digest()
    rng = random.Random(int.from_bytes(digest, "big"))
    height, width = (_SUPERSAMPLING * side for side in size)
    scene = Image.new("RGB", (width, height))
    _background(scene, rng)
    _clutter(scene, rng, behind=True)
    _animal(scene, label, rng)
    _clutter(scene, rng, behind=False)
    scene = scene.resize((size[1], size[0]), Image.Resampling.BOX)
    return _light(scene, rng)


class _Pen:
    """Draws shapes given around an origin, in units of the animal's head, turned, scaled and mirrored together."""

    def __init__(self, scene: Image.Image, centre: Point, unit: float, angle: float, mirrored: bool) -> None:
        self.scene, self.centre, self.unit = scene, centre, unit
        self.cos, self.sin, self.side = math.cos(angle), math.sin(angle), -1 if mirrored else 1
        self.ink = ImageDraw.Draw(scene)

    def place(self, points: Sequence[Point]) -> list[Point]:
        (left, top), unit, cos, sin, side = self.centre, self.unit, self.cos, self.sin, self.side
        return [(left + unit * (x * side * cos - y * sin), top + unit * (x * side * sin + y * cos)) for x, y in points]

    def shape(self, points: Sequence[Point], fill: Colour) -> None:
        self.ink.polygon(self.place(points), fill=fill)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour, angle: float = 0.0) -> None:
        self.shape(_oval(x, y, rx, ry, angle), fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        thick = max(1, round(width * self.unit))
        self.ink.line(self.place(points), fill=fill, width=thick, joint="curve")

    def tube(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A thick curve with round ends, such as a tail or a leg."""
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            for t in range(9):
                self.oval(x0 + (x1 - x0) * t / 8, y0 + (y1 - y0) * t / 8, width / 2, width / 2, fill)


_CIRCLE = [(math.cos(turn), math.sin(turn)) for turn in (2 * math.pi * i / 28 for i in range(28))]


def _oval(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> list[Point]:
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x + rx * c * cos - ry * s * sin, y + rx * c * sin + ry * s * cos) for c, s in _CIRCLE]


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, max(0, round(c * factor))) for c in colour)
    return red, green, blue


def _any_colour(rng: random.Random, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return round(255 * red), round(255 * green), round(255 * blue)


def _gradient(scene: Image.Image, top: Colour, bottom: Colour, box: tuple[int, int, int, int]) -> None:
    column = Image.new("RGB", (1, 2))
    column.putdata([top, bottom])
    scene.paste(column.resize((max(1, box[2] - box[0]), max(1, box[3] - box[1])), Image.Resampling.BILINEAR), box[:2])


def _background(scene: Image.Image, rng: random.Random) -> None:
    """A garden, a room, a room with a sofa, or a plain backdrop."""
    width, height = scene.size
    kind = rng.choice(("garden", "room", "sofa", "plain"))
    horizon = round(height * rng.uniform(0.45, 0.8))
    first, second = (_any_colour(rng, (0.1, 0.55), (0.25, 0.95)) for _ in range(2))
    if kind == "garden":
        first = rng.choice(((150, 200, 235), (210, 225, 240), (245, 190, 150), (60, 80, 130)))
        second = rng.choice(((90, 150, 70), (130, 170, 80), (170, 150, 90), (60, 100, 60)))
    if kind == "plain":
        _gradient(scene, first, _shade(first, rng.uniform(0.5, 1.3)), (0, 0, width, height))
        return
    _gradient(scene, _shade(first, 1.1), _shade(first, 0.9), (0, 0, width, horizon))
    _gradient(scene, second, _shade(second, 0.75), (0, horizon, width, height))
    ink = ImageDraw.Draw(scene)
    if kind == "garden":
        for _ in range(rng.randint(2, 5)):
            x, r = rng.uniform(0, width), rng.uniform(0.06, 0.2) * height
            ink.ellipse(
                (x - 1.4 * r, horizon - r, x + 1.4 * r, horizon + r / 2), fill=_shade(second, rng.uniform(0.6, 0.9))
            )
    else:
        ink.rectangle((0, horizon - height // 60, width, horizon), fill=_shade(first, 0.7))
    if kind == "sofa":
        sofa = _any_colour(rng, (0.2, 0.7), (0.3, 0.85))
        top = horizon - round(height * rng.uniform(0.1, 0.3))
        ink.rounded_rectangle((width * 0.04, top, width * 0.96, height * 1.2), radius=height // 12, fill=sofa)
        ink.rounded_rectangle(
            (width * 0.1, horizon, width * 0.9, height * 1.2), radius=height // 14, fill=_shade(sofa, 1.15)
        )


def _clutter(scene: Image.Image, rng: random.Random, behind: bool) -> None:
    """Balls, books, plants and frames behind the animal; now and then a cup, a branch or a fence in front of it."""
    width, height = scene.size
    ink, side = ImageDraw.Draw(scene), min(scene.size)
    if behind:
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            x, y, r = rng.uniform(0, width), rng.uniform(0.1, 0.95) * height, side * rng.uniform(0.04, 0.13)
            colour = _any_colour(rng, (0.2, 0.9), (0.3, 0.95))
            _THINGS[rng.randrange(len(_THINGS))](ink, x, y, r, colour)
        return
    if rng.random() > 0.22:
        return
    colour = _any_colour(rng, (0.2, 0.7), (0.2, 0.9))
    kind = rng.choice(("cup", "branch", "fence", "edge"))
    if kind == "cup":
        x, r = rng.uniform(0.05, 0.95) * width, side * rng.uniform(0.08, 0.14)
        ink.rounded_rectangle((x - r, height - 2 * r, x + r, height + r), radius=round(r / 4), fill=colour)
    elif kind == "branch":
        y0, y1 = rng.uniform(0.55, 1) * height, rng.uniform(0.55, 1) * height
        ink.line((0, y0, width, y1), fill=(90, 66, 46), width=round(side * rng.uniform(0.02, 0.05)))
    elif kind == "fence":
        for i in range(rng.randint(3, 6)):
            x = width * (i + rng.random() * 0.2) / 5
            ink.rectangle((x, height * 0.72, x + side * 0.03, height), fill=colour)
    else:
        edge = rng.uniform(0.03, 0.12) * width
        ink.rectangle((0, 0, edge, height) if rng.random() < 0.5 else (width - edge, 0, width, height), fill=colour)


def _ball(ink: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour) -> None:
    ink.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    ink.ellipse((x - r * 0.6, y - r * 0.7, x - r * 0.1, y - r * 0.2), fill=_shade(colour, 1.3))


def _book(ink: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour) -> None:
    for i in range(3):
        ink.rectangle(
            (x - r, y + i * r * 0.5, x + r * (1 - 0.1 * i), y + (i + 1) * r * 0.5), fill=_shade(colour, 0.7 + 0.25 * i)
        )


def _plant(ink: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour) -> None:
    for i in range(5):
        lean = (i - 2) * 0.5
        leaf = [
            (x, y),
            (x + r * (lean - 0.3), y - r * 1.1),
            (x + r * lean * 1.6, y - r * 2),
            (x + r * (lean + 0.3), y - r),
        ]
        ink.polygon(leaf, fill=(50 + 20 * i, 120 + 10 * (i % 3), 60))
    ink.polygon([(x - r * 0.7, y), (x + r * 0.7, y), (x + r * 0.5, y + r), (x - r * 0.5, y + r)], fill=colour)


def _frame(ink: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour) -> None:
    ink.rectangle((x - r, y - r * 1.2, x + r, y + r * 1.2), fill=_shade(colour, 0.6))
    ink.rectangle((x - r * 0.75, y - r * 0.95, x + r * 0.75, y + r * 0.95), fill=_shade(colour, 1.3))


_THINGS: tuple[Callable[[ImageDraw.ImageDraw, float, float, float, Colour], None], ...] = (_ball, _book, _plant, _frame)


# How often; half a head's width as a share of the picture; where the origin lies from the middle, in the same unit.
_POSES = {
    "face": (0.68, 0.34, 0.0, 0.05),
    "sitting": (0.26, 0.3, 0.0, 0.1),
    "standing": (0.03, 0.23, 0.85, 0.35),
    "lying": (0.03, 0.24, 0.85, 0.3),
}


def _animal(scene: Image.Image, label: str, rng: random.Random) -> None:
    """A face close up, or the animal sitting, standing or lying; its coat patterned where its body is."""
    width, height = scene.size
    side = min(scene.size)
    (pose,) = rng.choices(tuple(_POSES), [often for often, *_ in _POSES.values()])
    _, reach, beside, below = _POSES[pose]
    unit = side * reach * rng.uniform(0.88, 1.18)
    mirrored = rng.random() < 0.5
    # The head is nearer to the middle than the body is.
    x = width / 2 + unit * (-beside if mirrored else beside) + side * rng.uniform(-0.07, 0.07)
    y = height / 2 + unit * below + side * rng.uniform(-0.06, 0.06)
    pen_at = ((x, y), unit, rng.gauss(0, 0.1), mirrored)

    coat, other = rng.sample(_COATS, 2)
    before = scene.copy()
    pen = _Pen(scene, *pen_at)
    head = _body(pen, label, pose, coat, rng)
    _head_shape(pen, label, head, coat, rng)
    _pattern(scene, before, pen, coat, other, rng)
    _face(pen, label, head, coat, rng)


def _body(pen: _Pen, label: str, pose: str, coat: Colour, rng: random.Random) -> Point:
    """Draw body, legs and tail; return where the head's centre is. One unit is half a head's width."""
    dark = _shade(coat, 0.82)
    if pose == "face":
        pen.oval(0, 1.55, 1.0, 0.95, dark)
        return 0.0, 0.0
    if pose == "sitting":
        _tail(pen, label, (0.8, 2.2), dark, rng)
        pen.oval(0, 1.45, 0.95, 1.3, coat)
        for x in (-0.4, 0.4):
            pen.tube([(x, 1.5), (x, 2.55)], 0.42, dark)
            pen.oval(x, 2.62, 0.3, 0.18, coat)
        return 0.0, -0.35
    low = 1.15 if pose == "standing" else 0.55
    _tail(pen, label, (1.75, 0.2), dark, rng)
    if pose == "standing":
        for x in (-0.95, -0.55, 1.0, 1.4):
            pen.tube([(x, 0.6), (x + rng.uniform(-0.12, 0.12), 1.75)], 0.34, dark if x in (-0.55, 1.0) else coat)
    else:
        for x in (-1.0, 0.9):
            pen.tube([(x, 0.95), (x - 0.7, 1.0)], 0.36, dark)
    pen.oval(0.25, 0.5, 1.65, 0.62 if pose == "standing" else 0.7, coat)
    pen.tube([(-0.9, 0.3), (-1.15, -0.4)], 0.8, coat)
    return -1.3, -0.75 if low > 1 else -0.5


def _tail(pen: _Pen, label: str, root: Point, colour: Colour, rng: random.Random) -> None:
    x, y = root
    if label == "cat":  # long, thin and curled
        bend = rng.uniform(0.5, 1.0)
        pen.tube([(x, y), (x + 0.7, y - 0.1), (x + 1.0, y - 0.9 * bend), (x + 0.75, y - 1.7 * bend)], 0.24, colour)
    else:  # short, thick at its root and wagging
        lift = rng.uniform(0.3, 1.0)
        pen.shape([(x - 0.2, y + 0.2), (x + 0.9, y - lift), (x + 0.7, y - lift - 0.15), (x - 0.2, y - 0.35)], colour)


def _head_shape(pen: _Pen, label: str, head: Point, coat: Colour, rng: random.Random) -> None:
    x, y = head
    inside = rng.choice(((232, 168, 160), (150, 100, 98), _shade(coat, 0.7)))
    if label == "cat":
        spread, tall = rng.uniform(0.52, 0.68), rng.uniform(1.25, 1.5)
        for side in (-1, 1):
            outer = [(x + side * 0.98, y - 0.1), (x + side * (spread + 0.32), y - tall), (x + side * 0.1, y - 0.7)]
            inner = [
                (x + side * 0.82, y - 0.4),
                (x + side * (spread + 0.27), y - tall + 0.25),
                (x + side * 0.34, y - 0.72),
            ]
            pen.shape(outer, coat)
            pen.shape(inner, inside)
        pen.oval(x, y, 1.02, 0.86, coat)
        for side in (-1, 1):  # ruffled cheeks
            pen.shape([(x + side * 0.6, y + 0.65), (x + side * 1.2, y + 0.42), (x + side * 0.95, y)], coat)
    else:
        ears = _shade(coat, rng.choice((0.6, 0.8, 1.25, 1.45)))
        pen.oval(x, y, 0.84, 0.98, coat)
        long, out = rng.uniform(0.62, 0.85), rng.uniform(0.1, 0.35)
        for side in (-1, 1):  # ears that hang at the sides of the head
            pen.oval(x + side * 0.9, y + 0.05 + (long - 0.62), 0.33, long, ears, angle=-side * out)


def _pattern(
    scene: Image.Image, before: Image.Image, pen: _Pen, coat: Colour, other: Colour, rng: random.Random
) -> None:
    """Stripes, patches or spots on what has been drawn since `before`."""
    kind = rng.choice(("none", "none", "stripes", "patches", "spots"))
    if kind == "none":
        return
    difference = ImageChops.difference(scene, before).convert("L").point(lambda level: 255 if level else 0)
    painted = Image.new("L", scene.size)
    marks = _Pen(painted.convert("RGB"), pen.centre, pen.unit, rng.uniform(-0.4, 0.4), False)
    white = (255, 255, 255)
    if kind == "stripes":
        for i in range(-8, 9):
            marks.line([(i * 0.42, -3), (i * 0.42 + 0.2, 0), (i * 0.42, 3)], 0.13, white)
    else:
        count, radius = (3, 0.75) if kind == "patches" else (22, 0.17)
        for _ in range(count):
            r = radius * rng.uniform(0.7, 1.3)
            marks.oval(rng.uniform(-1.6, 1.6), rng.uniform(-1.2, 2.4), r, r * rng.uniform(0.7, 1.2), white)
    colour = _shade(coat, 0.62) if kind == "stripes" else other
    mask = ImageChops.multiply(difference, marks.scene.convert("L"))
    scene.paste(colour, (0, 0), mask)


def _face(pen: _Pen, label: str, head: Point, coat: Colour, rng: random.Random) -> None:
    """Eyes, nose, mouth, and a cat's whiskers or a dog's muzzle and tongue."""
    x, y = head
    look, eye = rng.uniform(-0.06, 0.06), rng.choice(_EYES)
    muzzle, black = _shade(coat, rng.choice((0.6, 0.8, 1.3, 1.5))), (28, 24, 26)
    nose = rng.choice((black, (70, 50, 46), (206, 120, 124)))
    line = (235, 232, 228) if sum(coat) < 200 else (70, 58, 56)
    if label == "cat":
        for side in (-1, 1):
            pen.oval(x + side * 0.42, y - 0.1, 0.25, 0.2, eye, angle=side * -0.25)
            pen.oval(x + side * 0.42 + look, y - 0.1, 0.07, 0.18, black)
            pen.oval(x + side * 0.42 + look + 0.05, y - 0.17, 0.04, 0.04, (255, 255, 255))
            pen.oval(x + side * 0.17, y + 0.42, 0.24, 0.18, muzzle)
            for i in (-1, 0, 1):
                start = (x + side * 0.3, y + 0.4 + 0.04 * i)
                pen.line([start, (x + side * 1.25, y + 0.36 + 0.16 * i)], 0.025, line)
        pen.shape([(x - 0.13, y + 0.22), (x + 0.13, y + 0.22), (x, y + 0.36)], nose)
        return
    pen.oval(x, y + 0.45, 0.5, 0.46, muzzle)  # the muzzle
    if rng.random() < 0.5:
        pen.oval(x + 0.02, y + 0.95, 0.17, 0.28, (226, 108, 116))
    pen.line([(x, y + 0.3), (x, y + 0.62)], 0.04, line)
    pen.line([(x - 0.28, y + 0.66), (x, y + 0.74), (x + 0.28, y + 0.66)], 0.05, line)
    pen.oval(x, y + 0.2, 0.24, 0.17, nose)
    pen.oval(x - 0.07, y + 0.15, 0.06, 0.04, (130, 126, 128))
    for side in (-1, 1):
        pen.oval(x + side * 0.36, y - 0.25, 0.16, 0.17, (250, 248, 244))
        pen.oval(x + side * 0.36 + look, y - 0.24, 0.12, 0.13, eye)
        pen.oval(x + side * 0.36 + look, y - 0.24, 0.075, 0.085, black)
        pen.oval(x + side * 0.36 + look + 0.04, y - 0.29, 0.035, 0.035, (255, 255, 255))


def _light(scene: Image.Image, rng: random.Random) -> Image.Image:
    """Light from one side, brightness, warmth, a little blur, a little noise."""
    if rng.random() < 0.3:
        scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.01 * min(scene.size))))
    pixels: np.ndarray = np.asarray(scene, np.float32)
    height, width, _ = pixels.shape
    across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.25)
    light = rng.uniform(0.75, 1.15) * (1 + strength * (math.cos(angle) * across + math.sin(angle) * down))
    warmth = rng.uniform(-0.08, 0.08)
    pixels = pixels * light[..., None] * np.array([1 + warmth, 1, 1 - warmth], np.float32)
    grain = np.random.default_rng(rng.getrandbits(32)).standard_normal((height, width, 1), np.float32)
    return Image.fromarray(np.clip(pixels + rng.uniform(0, 9) * grain, 0, 255).astype(np.uint8))


def sample_folder(photos: Photos) -> Path:
    """The drawn set in the cache folder that `photos` means, drawn if it is not there yet."""
    base = folder_of(photos.cache)
    if base == default_folder() and not is_writable(base):
        base = Path(tempfile.gettempdir(), "catdog")
    height, width = DEFAULT_SIZE
    # As many as make a gibibyte of pixels: at 800 x 600 that is 745 drawings, not 6,000.
    count = min(DEFAULT_COUNT, max(200, 2**30 // (3 * photos.image_size[0] * photos.image_size[1])))
    folder = base / f"{DRAWN}{VERSION}-{count}-{height}x{width}"
    if not os.path.isdir(folder):
        remove_abandoned(folder.parent, _UNFINISHED)
        write_sample(folder, count, DEFAULT_SIZE, shared=True)
    return folder


def write_sample(
    folder: Path, count: int, size: tuple[int, int] = DEFAULT_SIZE, seed: int = 0, *, shared: bool = False
) -> None:
    """Draw `count` pictures into folder/cat and folder/dog, on all cores; a larger count only adds to a smaller one.

    Raises CatdogError for a folder that holds something or that another process draws into, or a number or size that
    makes no sense; with `shared` it takes what is there, and waits for the other. The folder is there whole or not at
    all.
    """
    if count < len(CLASSES):
        raise CatdogError(f"--count must be at least {len(CLASSES)}, one drawing a class, not {count}.")
    if not all(16 <= side <= 4096 for side in size):
        raise CatdogError(f"--size must be from 16 to 4096 pixels each way, not {size[0]} x {size[1]}.")

    def refuse() -> None:
        if not shared:
            raise CatdogError(f"another process is drawing into {folder}; wait for it, or give another folder.")

    def is_drawn() -> bool:
        there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if there and not shared:
            raise CatdogError(f"{folder} exists and is not an empty folder; give another folder to draw into.")
        return there

    try:
        if is_drawn():
            return
        with claimed_folder(folder.parent / f"{_UNFINISHED}{folder.name}", refuse) as temporary:
            if is_drawn():  # by the one that was waited for
                return
            temporary.chmod(0o755)
            for label in CLASSES:
                shutil.rmtree(temporary / label, ignore_errors=True)  # of a process that was killed
                (temporary / label).mkdir()
            with bar("drawing", count, " drawings") as progress:
                _draw_all(temporary, count, size, seed, progress)
            temporary.rename(folder)
    except OSError as error:
        raise CatdogError(
            f"cannot draw into {folder}: {error.strerror or error}; give another folder, or a training --cache DIR."
        ) from None


def _draw_all(folder: Path, count: int, size: tuple[int, int], seed: int, progress: Any) -> None:
    """Drawing holds Python's lock, so it takes processes to use all cores; few drawings are not worth starting any."""
    workers = min(thread_count()[0], count // 100)
    if workers < 2 or not sys.executable:
        for _ in draw_files(str(folder), range(count), size, seed):
            progress.update()
        return
    with ExitStack() as stack:
        processes = []
        for first in range(workers):
            task = f"{str(folder)!r}, range({first}, {count}, {workers}), {size}, {seed}"
            processes.append(stack.enter_context(start_python(f"from catdog.data.drawn import serve; serve({task})")))
            stack.callback(processes[-1].kill)
        for process in processes:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    raise OSError(line.decode().strip())
                progress.update(min(workers, count - progress.n))
            if process.wait() != 0:
                raise OSError("a process that draws has ended")


def serve(folder: str, numbers: range, size: tuple[int, int], seed: int) -> None:
    """Be one of the processes, and print why a picture cannot be drawn; the first prints an empty line for each one."""
    try:
        for _ in draw_files(folder, numbers, size, seed):
            if numbers.start == 0:
                print(flush=True)
    except OSError as error:
        print(error.strerror or error)


def draw_files(folder: str, numbers: range, size: tuple[int, int], seed: int) -> Iterator[int]:
    """Draw these pictures of the set, and yield the number of each when it is there."""
    for k in numbers:
        label, number = CLASSES[k % len(CLASSES)], k // len(CLASSES)
        picture = draw(label, seed * 1_000_003 + number, size)
        picture.save(os.path.join(folder, label, f"{label}-{number:05}.jpg"), quality=92, comment=_COMMENT)
        yield k


def are_drawn(listing: Listing) -> bool:
    """Whether all photos, or of many _LOOKED_AT spread over all, are files that `write_sample` drew."""
    return all(_is_drawn(listing.path(i)) for i in range(0, len(listing), -(-len(listing) // _LOOKED_AT)))


def _is_drawn(path: str) -> bool:
    try:
        with open_photo(path) as file:
            return _COMMENT in file.read(256)
    except (OSError, ImageError):
        return False
