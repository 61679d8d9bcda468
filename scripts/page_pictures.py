"""Makes the documents' pictures of the page: python scripts/page_pictures.py RUN, a run on drawn photos.

It needs Chromium, and pip install -e ".[test]".
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `catdog serve` has it

import io
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from catdog.base.atomic import write_atomic
from catdog.runs.locate import find_model
from catdog.server.networks import Networks
from catdog.server.serve import Server
from catdog.server.state import State

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def answer(page: Any) -> None:
    """Ask for two drawings."""
    for count in (1, 2):
        page.get_by_role("button", name="A drawing").click()
        page.wait_for_selector(f".gallery li:nth-child({count}) img" if count > 1 else ".pictures canvas")
    page.wait_for_selector(".pictures canvas")


def chain(page: Any) -> None:
    """Look at the chain rule for the photo of the answer."""
    page.locator("nav a[href='#inside']").click()
    page.get_by_role("button", name="The chain rule").click()
    page.wait_for_load_state("networkidle")


def keep(page: Any, name: str) -> None:
    """Write what the page shows as docs/pictures/NAME.png."""
    page.wait_for_timeout(500)  # bars grow for a moment
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    write_atomic(PICTURES / f"{name}.png", lambda file: image.save(file, "PNG", optimize=True))


def main(run: str) -> None:
    model = find_model(run)
    server = Server(State(Networks(model.parent.parent, model)), "127.0.0.1", 0)
    threading.Thread(target=server.answer, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1240, "height": 740}, locale="en")
        page.goto(server.address)
        answer(page)
        keep(page, "page")
        chain(page)
        keep(page, "page-inside")
    server.should_exit = True


if __name__ == "__main__":
    main(*sys.argv[1:])
