"""Fixtures: Chromium, as a person uses it: of 360 and 1400 pixels, in English and Chinese, light and dark."""

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from catdog.server.serve import Server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"))


@pytest.fixture(scope="module")  # ends the event loop that Playwright keeps in this thread
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, served: "Server") -> Iterator[Callable[..., Any]]:
    """open_page("#answer", width=1400, locale="en") -> the page, which asks nobody else and logs no error.

    errors: the status of responses that the test is about, and that the console may have.
    """
    wrong: list[str] = []
    contexts = []

    def open_at(
        view: str = "",
        width: int = 1400,
        locale: str = "en",
        dark: bool = False,
        errors: int = 0,
        address: str = "",
    ) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900 if width > 500 else 780},
            locale={"en": "en-GB", "zh": "zh-CN"}[locale],
            color_scheme="dark" if dark else "light",
            permissions=["camera", "clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        own = address or served.address
        expected = f"status of {errors}"
        page.on("console", lambda m: wrong.extend([m.text] if m.type == "error" and expected not in m.text else []))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda r: wrong.extend([] if r.url.startswith((own.split("#")[0], "blob:", "data:")) else [r.url]),
        )
        page.goto(own + view)
        page.wait_for_selector("h1")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not wrong
