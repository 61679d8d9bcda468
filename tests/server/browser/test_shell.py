"""The shell of the page: views, language, light and dark, the token."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from catdog.server.serve import Server

TOKEN = "a-token-of-some-length"
PAPER = {False: "rgb(253, 253, 252)", True: "rgb(20, 24, 29)"}  # by whether it is dark


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize(("locale", "title"), [("en", "What is on the photo?"), ("zh", "照片上是什么？")])
def test_the_page_speaks_the_language_of_the_browser(
    open_page: Callable[..., Any], width: int, locale: str, title: str
) -> None:
    page = open_page(width=width, locale=locale)
    assert page.locator("h1").inner_text() == title
    assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[locale]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_language_that_was_chosen_stays(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_label("Language").select_option("zh")
    assert page.locator("h1").inner_text() == "照片上是什么？"
    page.reload()
    expect(page.locator("h1")).to_have_text("照片上是什么？")
    page.get_by_label("语言").select_option("en")
    expect(page.locator("h1")).to_have_text("What is on the photo?")


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_follow_the_system_until_one_is_chosen(open_page: Callable[..., Any], dark: bool) -> None:
    page = open_page(dark=dark)

    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    assert paper() == PAPER[dark]
    page.get_by_label("Light or dark").select_option("light" if dark else "dark")
    assert paper() == PAPER[not dark]
    page.reload()
    page.wait_for_selector("h1")
    assert paper() == PAPER[not dark]


def test_views_have_addresses_and_a_way_back(open_page: Callable[..., Any]) -> None:
    page = open_page()
    for name, view in (("Look inside", "inside"), ("Watch it learn", "learn"), ("Runs", "runs")):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        page.wait_for_url(f"**/#{view}")
        assert page.locator("nav [aria-current=page]").inner_text() == name
    page.go_back()
    expect(page.locator("nav [aria-current=page]")).to_have_text("Watch it learn")
    assert page.title() == "Watch it learn · catdog"


def test_the_token_in_the_address_opens_the_page_and_goes_from_it(
    open_page: Callable[..., Any], start: Callable[..., Server]
) -> None:
    server = start(token=TOKEN)
    page = open_page(address=server.address)
    assert TOKEN not in page.url
    page.get_by_role("button", name="A drawing").click()
    page.wait_for_selector(".pictures canvas")
    page.reload()
    page.wait_for_selector(".drop")


def test_without_the_token_the_page_says_what_to_do(
    open_page: Callable[..., Any], start: Callable[..., Server]
) -> None:
    page = open_page(address=start(token=TOKEN).address.split("#")[0], errors=401)
    assert "token" in page.locator("[role=alert]").inner_text()
