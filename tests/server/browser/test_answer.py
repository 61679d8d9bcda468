"""Answer, as a person uses it: each way to give a photo, and all that is said of it, against the program's numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from catdog.predict import Classifier
from catdog.server.serve import Server
from catdog.tools.explain.explanation import explain

Open = Callable[..., Any]


def give(page: Any, *photos: Path) -> None:
    page.set_input_files("input[type=file]", [str(path) for path in photos])


def shares(page: Any) -> dict[str, float]:
    """The probabilities that the bars show, in full."""
    page.wait_for_selector(".bars")
    rows = page.locator(".bars tr").all()
    return {row.locator("th").inner_text(): float(row.locator(".share").get_attribute("title")) for row in rows}


@pytest.fixture
def network(place: Path) -> Classifier:
    return Classifier.load(place / "runs" / "small")


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("locale", ["en", "zh"])
def test_a_photo_that_is_chosen_is_answered(
    open_page: Open, photo: Path, network: Classifier, width: int, locale: str
) -> None:
    page = open_page("#answer", width, locale)
    give(page, photo)
    expected = network.predict(photo)
    assert shares(page) == expected.probabilities
    assert f"{expected.probability:.1%}" in page.locator(".headline").inner_text()
    page.wait_for_selector(".pictures canvas")
    seen = page.locator(".pictures img.pixels")
    assert seen.evaluate("image => [image.naturalHeight, image.naturalWidth]") == [12, 16]
    assert "12 × 3 = 576" in page.locator(".pictures").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_which_pixels_spoke_can_be_pointed_at_and_walked_to(open_page: Open, photo: Path, network: Classifier) -> None:
    page = open_page("#answer")
    give(page, photo)
    canvas = page.locator(".pictures canvas")
    canvas.wait_for()
    expected = explain(network, photo.read_bytes(), "tom.jpg", checks=False).attribution
    page.get_by_role("button", name="In blocks").click()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 3.5 / 16, box["y"] + box["height"] * 7.5 / 12)
    readout = page.locator(".readout")

    def said(row: int, column: int) -> str:
        value = expected.pixels[row, column]
        label = network.classes[expected.first if value > 0 else expected.second]
        return f"Row {row}, column {column}: {float(f'{abs(value):.4g}'):.10g} for {label}"

    assert readout.inner_text() == said(7, 3)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert readout.inner_text() == said(6, 4)
    page.locator("summary", has_text="As numbers").click()
    assert f"{expected.difference:+.2f}".replace("-", "−") in page.locator("details p").inner_text()
    assert page.locator(".blocks td").count() == 36


def test_several_photos_make_a_gallery_and_each_can_be_chosen(
    open_page: Open, place: Path, network: Classifier
) -> None:
    photos = sorted((place / "photos").rglob("*.jpg"))[9:15]
    page = open_page("#answer")
    give(page, *photos)
    expect(page.locator(".gallery img")).to_have_count(6)
    expect(page.locator(".gallery")).not_to_contain_text("Working")
    for path in photos:
        page.get_by_role("button", name=path.name).click()
        assert shares(page) == network.predict(path).probabilities
    assert page.locator(".gallery [aria-pressed=true]").count() == 1
    assert page.locator(".all p").inner_text().startswith("6 photos: ")


def test_a_photo_is_dropped(open_page: Open, photo: Path, network: Classifier) -> None:
    page = open_page("#answer")
    page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
            const drop = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
            document.querySelector(".drop").dispatchEvent(drop);
        }""",
        list(photo.read_bytes()),
    )
    assert shares(page) == network.predict(photo).probabilities


def test_a_photo_is_pasted_by_key_and_by_button(open_page: Open) -> None:
    page = open_page("#answer")
    page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
            canvas.getContext("2d").fillRect(0, 0, 20, 30);
            const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
            await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }"""
    )
    page.get_by_role("button", name="Paste").click()
    page.wait_for_selector(".headline")
    assert "pasted.png, 40 × 30" in page.locator(".pictures").inner_text()
    page.keyboard.press("Control+V")
    expect(page.locator(".gallery img")).to_have_count(2)


def test_the_camera_takes_a_photo_and_is_closed(open_page: Open) -> None:
    page = open_page("#answer")
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Take the photo").click()
    page.wait_for_selector(".headline")
    page.get_by_role("button", name="Close the camera").click()
    assert page.locator("video").count() == 0


def test_a_drawing_is_there_for_who_has_no_photo(open_page: Open, served: Server) -> None:
    page = open_page("#answer")
    page.get_by_role("button", name="A drawing").click()
    drawn = httpx.post(served.address + "api/photos/drawn", json={"label": "cat", "seed": 1000}).json()["photos"][0]
    found = httpx.post(served.address + "api/predict", json={"photos": [drawn["id"]]}).json()["answers"][0]
    assert shares(page) == found["probabilities"]


def test_not_sure_and_unfamiliar_are_said(open_page: Open, photo: Path) -> None:
    page = open_page("#answer")
    give(page, photo)
    page.wait_for_selector(".headline")
    page.get_by_label("“Not sure” below").fill("1")
    expect(page.locator(".headline")).to_contain_text("not sure (")
    page.get_by_label("“Not sure” below").fill("0")
    expect(page.locator(".headline")).not_to_contain_text("not sure")
    page.get_by_label("Network that is asked").select_option("cats-dogs")
    expected = Classifier.load("cats-dogs").predict(photo)
    expect(page.locator(".share").first).to_have_attribute("title", json.dumps(expected.probabilities["cat"]))
    is_unfamiliar = expected.familiarity is not None and expected.familiarity < 0.05
    assert page.locator(".headline").inner_text().startswith("unfamiliar") == is_unfamiliar


def test_a_file_that_is_no_photo_is_refused_with_a_sentence(open_page: Open, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no photo")
    page = open_page("#answer", errors=400)
    give(page, tmp_path / "notes.jpg", photo)
    assert "text, not a photo" in page.locator(".result .problem").inner_text()
    page.get_by_role("button", name="tom.jpg").click()
    page.wait_for_selector(".headline")


def test_a_photo_whose_question_failed_is_not_called_unreadable_and_is_answered_when_asked_again(
    open_page: Open, place: Path, network: Classifier
) -> None:
    photos = sorted((place / "photos").rglob("*.jpg"))[:2]
    page = open_page("#answer", errors=503)
    page.route("**/api/predict*", lambda route: route.fulfill(status=503, json={"error": "busy; ask again."}))
    give(page, *photos)
    expect(page.locator(".gallery strong")).to_have_text(["Not answered"] * 2)
    expect(page.locator(".result .problem")).to_have_text("busy; ask again.")
    page.unroute("**/api/predict*")
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("link", name="Answer").click()
    assert shares(page) == network.predict(photos[0]).probabilities
    expect(page.locator(".gallery")).not_to_contain_text("Not answered")
    page.route("**/api/predict*", lambda route: route.fulfill(status=503, json={"error": "busy; ask again."}))
    page.get_by_label("Network that is asked").select_option("cats-dogs")
    expect(page.locator(".gallery strong")).to_have_text(["Not answered"] * 2)
    page.unroute("**/api/predict*")
    page.get_by_label("Network that is asked").select_option("small")
    assert shares(page) == network.predict(photos[0]).probabilities
    expect(page.locator(".gallery")).not_to_contain_text("Not answered")


def test_which_pixels_spoke_is_asked_again_where_that_failed(open_page: Open, photo: Path) -> None:
    page = open_page("#answer", errors=503)
    page.route("**/pixels?*", lambda route: route.fulfill(status=503, json={"error": "busy; ask again."}))
    give(page, photo)
    expect(page.get_by_text("busy; ask again.")).to_be_visible()
    page.unroute("**/pixels?*")
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("link", name="Answer").click()
    page.locator(".pictures canvas").wait_for()


def test_a_name_is_never_taken_for_html(open_page: Open, tmp_path: Path, photo: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    path.write_bytes(photo.read_bytes())
    page = open_page("#answer")
    give(page, path)
    page.wait_for_selector(".headline")
    assert path.name in page.locator(".pictures").inner_text()


def test_what_was_answered_is_still_there_after_another_view_and_in_another_language(
    open_page: Open, photo: Path
) -> None:
    page = open_page("#answer")
    give(page, photo)
    before = shares(page)
    page.get_by_role("link", name="Watch it learn").click()
    page.wait_for_selector(".bars", state="detached")
    page.get_by_role("link", name="Answer").click()
    assert shares(page) == before
    page.get_by_label("Language").select_option("zh")
    assert page.locator("h1").inner_text() == "照片上是什么？"
    assert shares(page) == before
