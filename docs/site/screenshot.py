"""Take the picture of the README: the page of the demo's model, as a browser shows it.

python docs/site/screenshot.py RUN docs/report.png   # RUN: a finished run of examples/digits with slices and a bootstrap
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from harness.report.page import render
from harness.report.subjects import read

__all__ = ["take"]

CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT = 640, 800  # of a column; they stand side by side
COLUMNS = ("verdict", "slices", "confusion")  # sections that these begin with
COLOURS = 64


def take(run: Path, picture: Path) -> None:
    """Write the picture of a run's page, some sections side by side."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "report.html"
        page.write_text(render(read([run]), title="digits"))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(page.as_uri())
        columns = []
        for section in COLUMNS:
            top = tab.locator(f"#{section}").bounding_box()["y"]
            tab.screenshot(
                path=f"{folder}/{section}.png", full_page=True, clip={"x": 0, "y": top, "width": WIDTH, "height": HEIGHT}
            )
            columns.append(Image.open(f"{folder}/{section}.png").convert("RGB"))
        browser.close()
        whole = Image.new("RGB", (WIDTH * len(columns), HEIGHT), "white")
        for place, column in enumerate(columns):
            whole.paste(column, (place * WIDTH, 0))
        whole.quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
