"""The page's own files: all there, in both languages, nothing from elsewhere."""

import re
import tomllib
from pathlib import Path

import httpx
import pytest

import catdog
from catdog.drawing.colours import DARK, LIGHT
from catdog.server.app import STATIC

PACKAGE = Path(catdog.__file__).parent

FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())


def test_every_file_of_the_page_is_given_as_it_is(ask: httpx.Client) -> None:
    for path in FILES:
        found = ask.get("/" + path.relative_to(STATIC).as_posix())
        assert found.content == path.read_bytes() and found.headers["x-content-type-options"] == "nosniff"
    for sheet in (LIGHT, DARK):
        assert ask.get(f"/{sheet.name}").content == sheet.read_bytes()
    assert ask.get("/").content == (STATIC / "index.html").read_bytes()
    assert ask.get("/main.js").headers["content-type"].startswith("text/javascript")
    tag = ask.get("/main.js").headers["etag"]
    assert ask.get("/main.js", headers={"if-none-match": tag}).status_code == 304


def test_a_wheel_holds_every_file_of_the_page() -> None:
    told = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    assert {path for pattern in told["catdog.server"] for path in STATIC.parent.glob(pattern + "/*")} >= set(FILES)
    assert {path for pattern in told["catdog.drawing"] for path in LIGHT.parent.glob(pattern)} >= {LIGHT, DARK}


def keys(path: Path) -> dict[str, set[str]]:
    """The keys of a file of texts, and the names in braces in each."""
    lines = re.findall(r'^  "([\w.-]+)":\s*"((?:[^"\\]|\\.)*)",$', path.read_text("utf-8"), re.MULTILINE)
    assert len(lines) == len(re.findall(r'^  "[\w.-]+":', path.read_text("utf-8"), re.MULTILINE))
    return {key: set(re.findall(r"\{\w+\}", text)) for key, text in lines}


@pytest.mark.parametrize("name", [path.name for path in (STATIC / "text" / "en").glob("*.js")])
def test_both_languages_have_the_same_texts(name: str) -> None:
    assert keys(STATIC / "text" / "en" / name) == keys(STATIC / "text" / "zh" / name)


def test_every_text_that_the_views_ask_for_is_there() -> None:
    known = set().union(*(keys(path) for path in (STATIC / "text" / "en").glob("*.js")))
    for path in STATIC.rglob("*.js"):
        asked = set(re.findall(r'\bt\(\s*"([\w.-]+)"', path.read_text("utf-8")))
        assert not asked - known, path.name


def test_no_file_of_the_page_names_another_server() -> None:
    for path in FILES:
        found = set(re.findall(r"https?://[\w.]+", path.read_text("utf-8")))
        assert found <= {"http://www.w3.org"}, path.name  # the name of SVG, which nobody asks
