"""The exported page in a real Chromium, from a file, without a network: it answers as `predict` does."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import CHROMIUM
from PIL import Image
from test_export import SHAPES, SIZE, expected, export, photos, write

from catdog.architecture import RESIZES, Resize
from catdog.images import decode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
ASK = """async (data) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const { pixels, probabilities, familiarity } = await askFile(new File([bytes], "photo"));
    return [[...pixels], probabilities, familiarity];
}"""


@pytest.fixture
def open_file(chromium: Any) -> Iterator[Callable[..., Any]]:
    """open_file(path, width, locale, dark) -> a page that logs no error and asks for nothing."""
    wrong: list[str] = []
    contexts = []

    def open_at(path: Path, width: int = 1200, locale: str = "en-GB", dark: bool = False) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 800},
            locale=locale,
            color_scheme="dark" if dark else "light",
            permissions=["camera"],
            offline=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: wrong.extend([] if r.url.startswith(("file:", "blob:")) else [r.url]))
        page.goto(path.as_uri())
        page.wait_for_selector("h1")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not wrong


def as_file(pixels: Any, kind: str) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, kind)
    return stored.getvalue()


@pytest.mark.parametrize(
    ("name", "resize"), [*((name, "squash") for name in SHAPES), ("shared", "crop"), ("shared", "pad")]
)
def test_the_page_answers_as_predict_does(
    name: str, resize: Resize, tmp_path: Path, open_file: Callable[..., Any]
) -> None:
    run = write(tmp_path / "run", SHAPES[name], "int8", mirrored=name != "dense", resize=resize)
    page = open_file(export(run, "html", tmp_path / "a.html"))
    for size in (SIZE, (70, 131), (9, 30), (301, 44)):
        photo = as_file(photos(1, *size)[0], "PNG")
        seen, probabilities, familiarity = page.evaluate(ASK, base64.b64encode(photo).decode())
        pixels = decode(photo, SIZE, resize)
        np.testing.assert_array_equal(np.reshape(seen, (*SIZE, 3)), pixels)  # to the pixel
        theirs, familiar = expected(run, pixels.transpose(2, 0, 1)[None])
        np.testing.assert_allclose(probabilities, theirs[0], atol=1e-5)
        np.testing.assert_allclose(familiarity, familiar[0], atol=1e-4)


@pytest.mark.parametrize("resize", RESIZES)
def test_a_jpeg_is_reduced_as_predict_does(resize: Resize, tmp_path: Path, open_file: Callable[..., Any]) -> None:
    """Grey, and smooth: what is left is how the browser and libjpeg round."""
    run = write(tmp_path / "run", SHAPES["linear"], resize=resize)
    page = open_file(export(run, "html", tmp_path / "a.html"))
    for size in ((48, 200), (333, 170), (7, 800)):
        smooth = Image.fromarray(photos(1, 4, 5)[0, ..., 0]).resize(size[::-1], Image.Resampling.BICUBIC)
        photo = as_file(np.asarray(smooth), "JPEG")
        seen = page.evaluate(ASK, base64.b64encode(photo).decode())[0]
        off = np.abs(np.reshape(seen, (*SIZE, 3)) - decode(photo, SIZE, resize).astype(int))
        assert off.max() <= 3 and off.mean() < 0.6


@pytest.mark.parametrize(("width", "locale", "dark"), [(360, "zh-CN", True), (1200, "en-GB", False)])
def test_a_person_gives_photos_and_reads_answers(
    width: int, locale: str, dark: bool, tmp_path: Path, open_file: Callable[..., Any]
) -> None:
    run = write(tmp_path / "run", SHAPES["shared"])
    page = open_file(export(run, "html", tmp_path / "a.html", "--unfamiliar-below", "0"), width, locale, dark)
    title = {"zh-CN": "照片上是什么？", "en-GB": "What is on the photo?"}
    assert page.locator("h1").inner_text() == title[locale]
    photo = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": as_file(photos(1, 90, 70)[0], "JPEG")}
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"nothing"}
    page.set_input_files("#files", [photo, broken])
    page.wait_for_selector("article figure")
    assert page.locator("article h2").inner_text().split()[-1].endswith("%")
    assert "broken.jpg" in page.locator("article .problem").inner_text()
    assert page.locator("article tr").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert paper == ("rgb(20, 24, 29)" if dark else "rgb(253, 253, 252)")
    page.locator("#language").click()
    assert page.locator("h1").inner_text() in title.values() and page.locator("h1").inner_text() != title[locale]


def test_the_camera_answers_while_it_looks(tmp_path: Path, open_file: Callable[..., Any]) -> None:
    run = write(tmp_path / "run", SHAPES["shared"])
    page = open_file(export(run, "html", tmp_path / "a.html", "--unfamiliar-below", "0", "--unsure-below", "1"))
    page.locator("#camera").click()
    page.wait_for_selector("#live span")
    assert page.locator("#live").inner_text().startswith("Not sure (")
    page.locator("#shoot").click()
    page.wait_for_selector("article figure")
    assert page.locator("#booth").is_hidden()


def test_the_page_forbids_eval_and_other_scripts(tmp_path: Path, open_file: Callable[..., Any]) -> None:
    page = open_file(export(write(tmp_path / "run", SHAPES["linear"]), "html", tmp_path / "a.html"))
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
