"""Renders a self-contained HTML page: images are embedded, no script, nothing is loaded from the network."""

import base64
import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from catdog.base.text import in_utf8
from catdog.errors import ImageError
from catdog.images.decoder import decode

# A wide picture has a shadow at an edge beyond which it goes on: two gradients that stay, below two that scroll.
_STYLE = """
:root { color-scheme: light dark; --ink: #24292f; --paper: #fdfdfc; --card: #fff; --line: #d8dee4; --soft: #57606a;
  --sheet: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #14181d; --card: #1c2128; --line: #373e47; --soft: #9aa5b1;
    --sheet: #e6e9ed; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 80rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .3rem; }
p { max-width: 50rem; margin: .3rem 0 .9rem; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin: 1rem 0 1.5rem; font-size: .9rem; }
a { color: inherit; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.2rem; margin: 0 0 1.2rem; }
img { display: block; width: 100%; height: auto; }
.picture { width: fit-content; max-width: 100%; box-sizing: border-box; overflow-x: auto;
  isolation: isolate; border: 1px solid var(--line); border-radius: 8px; padding: .8rem;
  background: linear-gradient(90deg, var(--sheet) 40%, transparent) 0 / 3rem 100% no-repeat local,
    linear-gradient(-90deg, var(--sheet) 40%, transparent) 100% / 3rem 100% no-repeat local,
    linear-gradient(90deg, #0006, transparent) 0 / 1rem 100% no-repeat,
    linear-gradient(-90deg, #0006, transparent) 100% / 1rem 100% no-repeat, var(--sheet); }
.picture img { mix-blend-mode: multiply; }
pre { overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; margin: .8rem 0 0; }
summary { cursor: pointer; margin-top: .8rem; color: var(--soft); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem .8rem; }
figure { margin: 0; }
figure img { height: 8.5rem; object-fit: contain; }
figcaption { margin-top: .3rem; font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere; }
figcaption small { display: block; color: var(--soft); font-size: .75rem; }
@media (max-width: 40rem) {
  main { padding: 1rem .5rem; }
  section { padding: .7rem; }
  .picture { padding: .4rem; }
}
"""

# Kana, Chinese characters, Hangul.
_EAST_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U000323af]+")
_GENERATOR = '<meta name="generator" content="catdog">'
_THUMBNAIL = 240  # pixels of its longer side
_SMALLEST = 0.64  # the scale at which a picture is shown at least


@dataclass(frozen=True)
class GalleryPhoto:
    """A photo of a gallery: JPEG bytes (None if it cannot be shown), its caption and the path of its file."""

    jpeg: bytes | None
    caption: str
    path: str


@dataclass(frozen=True)
class Section:
    """A section of a page: `about` explains its image, `lines` are details. `key` names the image and is the anchor."""

    key: str
    title: str
    about: str
    lines: Sequence[str] = ()
    gallery: Sequence[GalleryPhoto] = ()


def thumbnail(path: str) -> Image.Image | None:
    """A photo for a gallery, small, of its own shape; None where it can no longer be read."""
    try:
        photo = Image.fromarray(decode(path))
    except ImageError:
        return None
    photo.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return photo


def jpeg(photo: Image.Image | None) -> bytes | None:
    """The thumbnail as `GalleryPhoto` has it."""
    if photo is None:
        return None
    data = io.BytesIO()
    photo.save(data, "JPEG", quality=85)
    return data.getvalue()


def page(title: str, about: str, sections: Sequence[Section], images: Mapping[str, bytes], *, numbered: bool) -> str:
    """Render the HTML of a page. images: PNG bytes by the key of their section."""
    heads = [(f"{i}. " if numbered else "") + s.title for i, s in enumerate(sections, start=1)]
    links = "".join(f'<a href="#{s.key}">{_text(head)}</a>' for s, head in zip(sections, heads, strict=True))
    cards = "".join(_card(s, head, images.get(s.key)) for s, head in zip(sections, heads, strict=True))
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_GENERATOR}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_text(title)}</h1>\n<p>{_text(about)}</p>\n<nav>{links}</nav>\n{cards}</main>\n</body>\n</html>\n"
    )
    return in_utf8(text)


def is_page(path: Path) -> bool:
    """Whether a file is a page that `page` rendered, so that another may replace it."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return _GENERATOR.encode() in file.read(1000)
    return False


def _card(section: Section, head: str, image: bytes | None) -> str:
    parts = [f'<section id="{section.key}">\n<h2>{_text(head)}</h2>\n<p>{_text(section.about)}</p>\n']
    if image is not None:
        # On a screen narrower than this, at which letters of 8 points are 8 pixels high, the picture scrolls sideways.
        width = int.from_bytes(image[16:20], "big")  # IHDR of a PNG: its width in pixels
        style = f"min-width: {round(_SMALLEST * width)}px; max-width: {width}px"
        picture = f'<img alt="{escape(section.title)}" style="{style}" src="{data_url(image, "png")}">'
        parts.append(f'<div class="picture" tabindex="0">{picture}</div>\n')
    if section.gallery:
        parts.append(f'<div class="gallery">\n{"".join(map(_figure, section.gallery))}</div>\n')
    if section.lines:
        text = _text("\n".join(section.lines))
        shown = "" if image is not None else " open"
        parts.append(f"<details{shown}><summary>in detail</summary>\n<pre>{text}</pre>\n</details>\n")
    return "".join([*parts, "</section>\n"])


def _text(text: str) -> str:
    """Escape a text for HTML; East Asian words in it, such as names of classes, are marked with their language."""
    return _EAST_ASIAN.sub(lambda found: f'<span lang="{_language(found[0])}">{found[0]}</span>', escape(text))


def _language(word: str) -> str:
    if any("\u3040" <= c <= "\u30ff" for c in word):
        return "ja"
    return "ko" if any("\uac00" <= c <= "\ud7af" for c in word) else "zh"


def _figure(photo: GalleryPhoto) -> str:
    caption = f"<figcaption>{_text(photo.caption)}<small>{_text(photo.path)}</small></figcaption>"
    if photo.jpeg is None:
        return f"<figure>{caption}</figure>\n"
    return f'<figure><img alt="{escape(photo.caption)}" src="{data_url(photo.jpeg, "jpeg")}">{caption}</figure>\n'


def data_url(image: bytes, kind: str) -> str:
    """The address that holds a picture itself. kind: png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def how_to_open(page: Path) -> str:
    """Say how to look at a page that was written, by what can be pasted where a browser shows its address."""
    return f"to look at it, open this file in a browser: {page.resolve().as_uri()}"
