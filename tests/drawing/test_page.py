"""Pages: each word's language, and pictures that stay readable on narrow screens."""

import io
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import Page
from PIL import Image

from catdog.drawing.page import GalleryPhoto, Section, how_to_open, page


def picture(width: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, 10)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "language"),
    [("\u732b", "zh"), ("\u306d\u3053", "ja"), ("\u732b\u306e", "ja"), ("\uace0\uc591\uc774", "ko")],
)
def test_a_name_in_another_script_is_marked_with_its_language(name: str, language: str) -> None:
    photo = GalleryPhoto(None, f"{name}, called <b>", f"{name}/1.jpg")
    text = page(name, "about", [Section("key", name, "a", [f"{name} 1"], [photo])], {}, numbered=True)
    marked = f'<span lang="{language}">{name}</span>'
    assert text.count(marked) == 6  # heading, link, section, caption, path, line
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert "<b>" not in text
    assert not Page(text).open


def test_an_english_page_has_no_other_language() -> None:
    assert "<span" not in page("cat & dog", "about", [Section("key", "t", "a", ["\u00e9\u05e2"])], {}, numbered=False)


@pytest.mark.parametrize("width", [500, 1800])
def test_a_picture_is_shown_no_smaller_than_it_can_be_read_and_scrolls_in_its_frame(width: int) -> None:
    text = page("t", "a", [Section("key", "t", "a")], {"key": picture(width)}, numbered=False)
    found = re.search(r'<div class="picture" tabindex="0"><img [^>]*min-width: (\d+)px', text)
    assert found
    assert (
        8 * int(found[1]) / width * 120 / 72 > 8
    )  # letters of 8 points, at the 120 dots an inch of figures, in pixels
    assert re.search(r"\.picture \{[^}]*overflow-x: auto", text)


def test_a_page_is_opened_by_an_address_whatever_its_folder_is_called(tmp_path: Path) -> None:
    path = tmp_path / "it's a 50% caf\u00e9 #1?" / "index.html"
    address = how_to_open(path).rpartition(" ")[2]
    assert urlsplit(address).scheme == "file" and unquote(urlsplit(address).path) == str(path.resolve())
