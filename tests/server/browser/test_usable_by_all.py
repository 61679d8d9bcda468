"""The page for all: axe without violations in every view, the keyboard alone, no wider than a phone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

VIEWS = ["answer", "inside", "learn", "runs"]
LOOKS = [(360, "en", False), (1400, "zh", False), (1400, "en", True), (360, "zh", True)]
BEYOND_THE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(page: Any) -> list[str]:
    found = Axe().run(page, options=BEYOND_THE_RULES).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}" for one in found for node in one["nodes"]
    ]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("width", "locale", "dark"), LOOKS)
def test_axe_finds_nothing(
    open_page: Callable[..., Any], photo: Path, view: str, width: int, locale: str, dark: bool
) -> None:
    page = open_page("#answer", width, locale, dark)
    assert not violations(page)
    page.set_input_files("input[type=file]", [str(photo), str(photo)])
    page.wait_for_selector(".pictures canvas")
    expect(page.locator(".gallery img")).to_have_count(2)
    page.locator(f"nav a[href='#{view}']").click()
    page.wait_for_load_state("networkidle")
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_keyboard_alone_is_enough(open_page: Callable[..., Any]) -> None:
    """From the top of the page by Tab: to the content, to a drawing, to its answer, and on to the next view."""
    page = open_page()

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate("document.activeElement.innerText ?? ''")
            if focused.strip() == name:
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"the focus on {name} cannot be seen"
                return
        raise AssertionError(f"{name} cannot be reached")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to("A drawing")
    page.keyboard.press("Enter")
    page.wait_for_selector(".headline")
    assert page.evaluate("document.activeElement.innerText") == "A drawing"  # where it was
    expect(page.locator("[aria-live=polite].unseen")).to_contain_text("cat.jpg: ")
    tab_to("In blocks")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="In blocks")).to_have_attribute("aria-pressed", "false")
    tab_to("Look inside: how it comes to this answer")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Look inside")
    assert page.evaluate("document.activeElement.id") == "main"
