"""Watch it learn, and the runs, as a person uses them."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from catdog.server.serve import Server

PATIENCE = 180_000  # milliseconds that a training may take to start, or to end


@pytest.fixture(scope="module")
def served(start: "Callable[..., Server]", place: Path, tmp_path_factory: pytest.TempPathFactory) -> "Server":
    """A server with a runs/ of its own."""
    runs = tmp_path_factory.mktemp("learner") / "runs"
    shutil.copytree(place / "runs" / "small", runs / "small")
    return start(runs=runs)


@pytest.fixture
def visit(open_page: Callable[..., Page], served: "Server") -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def to(view: str, **how: Any) -> Page:
        pages.append(open_page(view, **how))
        return pages[-1]

    yield to
    if pages:  # the next test finds no training
        pages[-1].request.post(served.address + "api/trainings/current/stop")


def open_form(page: Page) -> None:
    page.locator("details.new").wait_for()
    if not page.get_by_label("Epochs").is_visible():
        page.get_by_text("A new training").press("Enter")


def begin(page: Page, epochs: int) -> None:
    fill_in(page, epochs)
    expect(page.locator("details.new")).to_be_hidden()  # what was shown of another training is gone


def fill_in(page: Page, epochs: int, hidden: str = "8") -> None:
    open_form(page)
    page.get_by_label("Photos").select_option("photos")
    page.get_by_label("Hidden layers").fill(hidden)
    page.get_by_label("Epochs").fill(str(epochs))
    page.get_by_role("button", name="Start").click()


def phase(page: Page, text: str) -> None:
    expect(page.locator(".where")).to_have_text(text, timeout=PATIENCE)


def is_usable(page: Page, width: int) -> None:
    """Axe finds nothing, and nothing is cut off at the side."""
    found = Axe().run(page)
    assert not found.response["violations"], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1400])
def test_a_training_is_started_paused_found_again_stopped_and_ends(visit: Callable[..., Page], width: int) -> None:
    page = visit("#learn", width=width)
    begin(page, epochs=2000)
    phase(page, "Learning")
    page.get_by_role("button", name="Pause").click()
    phase(page, "Paused")
    before = page.locator(".detail").inner_text()
    page.close()  # the training stays where it is

    page = visit("#learn", width=width)
    phase(page, "Paused")
    assert page.locator(".detail").inner_text() == before
    assert page.locator(".watched li").count() >= 4 and page.locator(".neurons canvas").count() == 8
    assert page.locator(".templates li").all_inner_texts() == ["more cat", "more dog"]
    is_usable(page, width)
    page.get_by_role("button", name="Go on").click()
    phase(page, "Learning")
    expect(page.locator(".detail")).not_to_have_text(before)
    page.get_by_role("button", name="Stop").click()
    phase(page, "Stopped")
    expect(page.locator(".detail")).to_have_text(re.compile("all is saved after epoch"))
    run = page.locator(".detail").inner_text().split(":")[0]

    page.get_by_role("link", name="Runs").click()
    row = page.get_by_role("row").filter(has=page.get_by_text(run))
    expect(row).to_contain_text("stopped")
    row.get_by_role("button", name="Go on").click()
    phase(page, "Learning")
    page.get_by_role("button", name="Stop").click()
    phase(page, "Stopped")


@pytest.mark.parametrize(("width", "dark"), [(360, True), (1400, False)])
def test_at_its_end_the_network_is_asked_and_compared(visit: Callable[..., Page], width: int, dark: bool) -> None:
    page = visit("#learn", width=width, dark=dark)
    begin(page, epochs=4)
    phase(page, "Done")
    run = page.locator(".detail").inner_text().split(":")[0]
    page.get_by_text("The same as numbers").click()
    assert page.locator(".numbers tbody tr").count() == 4
    last = page.locator(".numbers tbody tr").last.get_by_role("cell").all_inner_texts()
    plot = page.get_by_role("slider", name="Loss")
    plot.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert "epoch 1" in str(plot.get_attribute("aria-valuetext"))
    page.keyboard.press("End")
    assert f"validation {last[1]}" in str(plot.get_attribute("aria-valuetext"))
    expect(page.get_by_text("the training loss went from")).to_be_visible()
    page.get_by_text("The plan, as catdog train prints it").click()
    expect(page.locator(".plan pre")).to_contain_text("hidden 1    Wx + b, W 8 x")
    is_usable(page, width)

    page.get_by_role("link", name="Runs").click()
    box = page.get_by_label(f"Compare the curves of {run}")
    expect(box).to_be_checked()
    curves = page.locator(".legend").first.locator("li")
    expect(curves).not_to_have_count(0)  # they are asked for when the view is there
    count = curves.count()
    box.uncheck()
    expect(curves).to_have_count(count - 1)
    box.check()
    is_usable(page, width)
    page.get_by_role("button", name=f"Ask it: {run}").click()
    expect(page.locator("select.network")).to_have_value(run)


@pytest.mark.parametrize("view", ["learn", "runs"])
@pytest.mark.parametrize("width", [360, 1400])
def test_the_views_are_usable_in_chinese(visit: Callable[..., Page], view: str, width: int) -> None:
    page = visit(f"#{view}", width=width, locale="zh")
    expect(page.locator("h1")).to_have_text({"learn": "看它学习", "runs": "训练记录"}[view])
    page.locator({"learn": "details.new", "runs": "table.runs"}[view]).wait_for()
    is_usable(page, width)


def test_a_mistake_is_one_sentence_at_its_field(visit: Callable[..., Page]) -> None:
    page = visit("#learn", errors=400)
    fill_in(page, epochs=3, hidden="8, twelve")
    expect(page.get_by_role("alert").filter(has_text="hidden")).to_contain_text("must be a list of whole numbers")
    expect(page.get_by_label("Hidden layers")).to_be_focused()


def test_with_the_keyboard_alone(visit: Callable[..., Page]) -> None:
    page = visit("#learn")
    open_form(page)
    page.get_by_label("Photos").press("p")  # photos
    tab_to(page, page.get_by_label("Hidden layers"))
    page.keyboard.press("Control+A")
    page.keyboard.type("8")
    tab_to(page, page.get_by_label("Epochs"))
    page.keyboard.press("Control+A")
    page.keyboard.type("2000")
    page.keyboard.press("Enter")
    expect(page.locator(".where")).to_be_focused()
    phase(page, "Learning")
    tab_to(page, page.get_by_role("button", name="Pause"))
    page.keyboard.press("Enter")
    phase(page, "Paused")
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Stop"))
    page.keyboard.press("Space")
    phase(page, "Stopped")


def tab_to(page: Page, wanted: Any) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError("it cannot be reached with the Tab key")
