"""The shell of the page: views, language, light and dark."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize(("locale", "title"), [("en", "What is on the photo?"), ("zh", "照片上是什么？")])
def test_the_page_speaks_the_language_of_the_browser(
    open_page: Callable[..., Any], width: int, locale: str, title: str
) -> None:
    page = open_page(width=width, locale=locale)
    assert page.locator("h1").inner_text() == title
    assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[locale]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
