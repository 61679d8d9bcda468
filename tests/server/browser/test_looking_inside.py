"""Look inside, as a person uses it: every number against `catdog explain`, each way of moving, and for all."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from catdog.predict import Classifier
from catdog.tools.explain import textbook
from catdog.tools.explain.explanation import CHANNELS, Explanation, explain
from catdog.tools.explain.words import as_text

Open = Callable[..., Any]

CHAPTERS = ["photo", "layers", "scores", "loss", "chain", "step", "network", "circuit"]
LOOKS = [(360, "en", False), (1400, "zh", False), (1400, "en", True), (360, "zh", True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture
def e(place: Path, photo: Path) -> Explanation:
    return explain(Classifier.load(place / "runs" / "small"), photo.read_bytes(), "-", checks=False)


@pytest.fixture
def look(open_page: Open, photo: Path) -> Open:
    """look(chapter, ...) -> the page at that chapter, with the photo chosen in Answer."""

    def open_at(chapter: str, **looks: Any) -> Any:
        page = open_page("#answer", **looks)
        page.set_input_files("input[type=file]", str(photo))
        page.wait_for_selector(".headline")
        page.locator("nav a[href='#inside']").click()
        page.wait_for_selector(".marker")
        turn(page, chapter)
        return page

    return open_at


def turn(page: Any, chapter: str) -> None:
    page.locator(".chapters button").nth(CHAPTERS.index(chapter)).click()
    page.wait_for_selector(f".chapter.{chapter} *")
    page.wait_for_load_state("networkidle")


def texts(page: Any, selector: str = ".chapter") -> str:
    """What is written there, with the minus of programs, and on one line."""
    return re.sub(r"\s+", " ", page.locator(selector).inner_text().replace("−", "-"))


def numbers(page: Any, selector: str) -> list[float]:
    """The exact values behind the numbers that are shown there."""
    return [float(one.get_attribute("value")) for one in page.locator(f"{selector} data").all()]


def test_a_pixel_is_three_numbers_of_the_input_layer(look: Open, e: Explanation) -> None:
    page = look("photo")
    canvas = page.locator("canvas.pixels")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 4.5 / 16, box["y"] + box["height"] * 7.5 / 12)
    for key, column in ((None, 4), ("ArrowRight", 5)):
        if key:
            canvas.focus()
            page.keyboard.press(key)
        shown = texts(page)
        assert f"Row 7, column {column}" in shown
        for c, colour in enumerate(CHANNELS):
            assert f"{colour} {e.pixels[c, 7, column]} →" in shown
            assert f"= x[{(c * 12 + 7) * 16 + column}]" in shown
        np.testing.assert_allclose(numbers(page, ".formula"), e.x.reshape(3, 12, 16)[:, 7, column], rtol=1e-12)


def test_the_numbers_on_the_page_are_those_that_explain_prints(look: Open, e: Explanation) -> None:
    text = re.sub(r"\s+", " ", as_text(e).replace(" * ", " · "))
    page = look("layers")
    for number, unit in enumerate((*e.path, e.label)):
        page.locator(".overview button").nth(number).click()
        expect(page.locator(".neuron input")).to_have_value(str(unit))
        rows = [row.inner_text().replace("−", "-").split("\t") for row in page.locator(".terms tbody tr").all()[:3]]
        for name, w, x, product in rows:
            x = f"({x})" if x.startswith("-") else x
            assert f"w*x = {w} · {x} = {product} ({name.replace('neuron', 'unit')})" in text
        *_, last = page.locator(".neuron .formula").all()
        outcome = last.inner_text().replace("−", "-").removeprefix("Wx + b = ")
        assert outcome.split(" + ")[-1].split(" - ")[-1] in text
    turn(page, "loss")
    assert texts(page, ".chapter .formula").replace("−", "-").removeprefix("L = -ln(p(").split(" = ")[-1] in text
    assert numbers(page, ".beside") == [e.probabilities[e.label], e.loss_value]
    turn(page, "chain")
    for i, row in enumerate(reversed(page.locator(".chain li").all()[1:])):
        layer = e.network.layers[i]
        wires = {}
        for wire in row.locator(".wire").all():
            name, *figures = wire.inner_text().replace("−", "-").split()
            wires[name] = figures
        if layer.activation != "none":
            normed, out = wires.get("n", wires["z"]), wires["a"]
            assert f"{layer.activation}({normed[0]}) = {out[0]}" in text
            assert re.search(rf"= {out[1]} · \S+ = {normed[1]} ", text)
        assert f"w = {wires['w'][0]} " in text or 0 < i < len(e.network.layers) - 1
    turn(page, "step")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".done")).to_contain_text("Steps: 1.")
    after, before = texts(page, ".done").removeprefix("Steps: 1. loss ").split(" ← ")
    assert f"loss: {before} -> {after} the shorter" in text


def test_another_label_has_another_loss(look: Open, e: Explanation) -> None:
    page = look("loss")
    other = 1 - e.label
    page.locator(".chapter select").select_option(e.classes[other])
    expect(page.locator(".beside .formula")).to_contain_text(f"p({e.classes[other]})")
    assert numbers(page, ".beside") == [e.probabilities[other], pytest.approx(-np.log(e.probabilities[other]))]


def test_steps_lead_on_and_back_to_exactly_the_start(look: Open) -> None:
    page = look("step")
    steps = page.locator(".done")

    def press(name: str, count: int) -> list[float]:
        page.get_by_role("button", name=name, exact=True).click()
        expect(steps).to_contain_text(f"Steps: {count}.")
        return numbers(page, ".terms")

    start = numbers(page, ".terms")
    one = press("Step", 1)
    assert one != start
    ten = press("10 steps", 11)
    assert press("Step back", 10) != ten
    assert press("Step", 11) == ten
    assert press("Rewind", 0) == start
    assert press("Step", 1) == one
    page.get_by_role("button", name="Run", exact=True).click()
    expect(steps).to_contain_text(re.compile(r"Steps: \d\d+\."))
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible()
    page.locator(".rate input").focus()
    before = page.locator(".rate output").inner_text()
    page.keyboard.press("End")
    assert page.locator(".rate output").inner_text() != before


def test_the_path_of_the_chain_rule_can_be_chosen(look: Open, e: Explanation) -> None:
    page = look("chain")
    chooser = page.locator("#through-1")
    other = chooser.locator("option").nth(3).get_attribute("value")
    chooser.select_option(other)
    expect(page.locator(".chain h3").nth(3)).to_have_text(f"hidden layer 1, neuron {other}")
    assert page.evaluate("document.activeElement.id") == "through-1"
    assert numbers(page, ".chain li:nth-child(4) .wires > .wire:last-of-type")[0] == e.outputs[0].out[int(other)]


@pytest.mark.parametrize("width", [360, 1400])
def test_a_cell_shows_its_neuron_and_a_line_its_product(look: Open, e: Explanation, width: int) -> None:
    page = look("layers", width=width)
    page.locator(".overview button").nth(1).click()
    canvas = page.locator("canvas.above")
    canvas.wait_for()
    expect(page.locator(".lens figcaption").last).to_have_text("hidden layer 2")
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] * 2.5 / 4, "y": box["height"] * 1.5 / 3})
    unit = 4 + 2
    assert numbers(page, ".readout") == [np.float32(e.outputs[1].out[unit])]
    canvas.click(position={"x": box["width"] * 2.5 / 4, "y": box["height"] * 1.5 / 3})
    expect(page.locator(".neuron input")).to_have_value(str(unit))
    page.locator("canvas.above").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".neuron input")).to_have_value(str(unit - 1))
    assert page.evaluate("document.activeElement.className").startswith("above")
    page.locator(".edges path").first.dispatch_event("pointerenter")
    row = e.network.layers[1].row(unit - 1) * e.outputs[1].x
    assert numbers(page, ".readout") == [pytest.approx(row[np.abs(row).argmax()])]


def test_the_textbooks_network_steps_as_the_textbook_says(open_page: Open) -> None:
    page = open_page("#inside")
    turn(page, "network")
    expect(page.locator(".graph")).to_contain_text("w5 = 0.40000")
    expect(page.locator(".graph")).to_contain_text("0.29837")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".done")).to_contain_text("Steps: 1.")
    assert numbers(page, ".done") == [textbook.error_after(1)]
    assert "0.358916480" in texts(page, ".terms")
    page.get_by_role("button", name="1,000 steps").click()
    expect(page.locator(".done")).to_contain_text("Steps: 1,001.")
    page.get_by_role("button", name="Rewind").click()
    expect(page.locator(".done")).to_contain_text("Steps: 0.")
    assert numbers(page, ".done") == [textbook.error_after(0)]


def test_each_gate_of_the_circuit_tells_its_value_and_gradient(open_page: Open) -> None:
    page = open_page("#inside")
    turn(page, "circuit")
    graph = textbook.circuit()
    page.wait_for_selector(".graph .edge")
    for edge in page.locator(".graph .edge").all():
        edge.focus()
        name = edge.get_attribute("aria-label").rsplit(", d", 1)[0].rsplit(" ", 1)[0]
        assert numbers(page, ".readout") == [graph[name], graph.gradient(name)]


def test_the_keyboard_alone_turns_the_chapters(look: Open) -> None:
    page = look("photo", width=360)
    page.locator("h2").focus()
    for number in range(2, 9):
        page.keyboard.press("ArrowRight")
        expect(page.locator("h2")).to_contain_text(f"{number}. ")
        assert page.evaluate("document.activeElement.tagName") == "H2"
    page.keyboard.press("ArrowLeft")
    expect(page.locator("h2")).to_contain_text("7. ")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h2")).to_contain_text("8. ")


@pytest.mark.parametrize(("width", "locale", "dark"), LOOKS)
def test_axe_finds_nothing_in_any_chapter(look: Open, width: int, locale: str, dark: bool) -> None:
    page = look("photo", width=width, locale=locale, dark=dark)
    for chapter in CHAPTERS:
        turn(page, chapter)
        found = Axe().run(page, options=RULES).response["violations"]
        assert not [f"{chapter}: {one['id']} {node['html'][:150]}" for one in found for node in one["nodes"]]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, chapter


def test_pictures_of_weights_tell_each_of_them(look: Open, e: Explanation) -> None:
    page = look("step")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".done")).to_contain_text("Steps: 1.")
    expect(page.locator(".template")).to_have_count(3)
    before = e.network.layers[0].row(e.path[0]).reshape(3, 12, 16)
    after = e.after_step(e.rate).layers[0].row(e.path[0]).reshape(3, 12, 16)
    for number, expected in enumerate((before, after - before, after)):
        canvas = page.locator(".template canvas").nth(number)
        expect(canvas).to_be_visible()
        page.wait_for_function("() => document.querySelectorAll('.template canvas').length > 1")
        box = canvas.bounding_box() or canvas.bounding_box()
        canvas.hover(position={"x": box["width"] * 3.5 / 16, "y": box["height"] * 1.5 / 12})
        assert "Row 1, column 3" in texts(page, ".readout")
        np.testing.assert_allclose(numbers(page, ".readout"), expected[:, 1, 3], rtol=1e-9, atol=1e-16)
