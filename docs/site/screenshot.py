"""Take a picture of the README or of docs/report.md: the page of the demo's model, as a browser shows it.

python docs/site/screenshot.py RUN docs/report.png   # RUN: a finished run of examples/digits with slices, bootstrap and examples
python docs/site/screenshot.py RUN docs/report-thresholds.png   # with roc_curve and binned_roc_auc of one class too
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from harness.report.page import render
from harness.report.subjects import read

__all__ = ["PICTURES", "take"]

CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT = 640, 800  # of a column; they stand side by side
COLUMNS = (("#verdict", ""), ("#slices", ""), ("#confusion", ""))  # what each begins with, and ends before
COLOURS = 64


@dataclass(frozen=True)
class Picture:
    """Parts of the page, side by side.

    Attributes:
      columns: what each begins with and what it ends before, as selectors; "" for nothing.
      width, height: pixels of a column.
      scheme: light or dark.
    """

    columns: tuple[tuple[str, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    scheme: str = "light"


PICTURES = {
    "report.png": Picture(COLUMNS),
    "report-thresholds.png": Picture(
        (("#scores", "#scores .pair > div:nth-child(3)"), ("#scores .thresholds", "#calibration, #confusion")), 880, 612
    ),
    "report-phone.png": Picture((("#verdict", ""), ("#slices", ""), ("#examples", "")), 390, 844, "dark"),
}


def take(run: Path, picture: Path) -> None:
    """Write the picture of that name of a run's page."""
    shape = PICTURES[picture.name]
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        page = Path(scratch) / "report.html"
        page.write_text(render(read([run]), title="digits"))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": shape.width, "height": shape.height}, color_scheme=shape.scheme)
        tab.goto(page.as_uri())
        _side_by_side(tab, shape, Path(scratch)).quantize(COLOURS).save(picture, optimize=True)
        browser.close()


def _side_by_side(tab: Any, shape: Picture, scratch: Path) -> Image.Image:
    """Return the columns of a picture, each a piece of the page."""
    whole = Image.new("RGB", (shape.width * len(shape.columns), shape.height), "white")
    for place, (start, stop) in enumerate(shape.columns):
        top = tab.locator(start).first.bounding_box()["y"]
        bottom = min(top + shape.height, tab.locator(stop).first.bounding_box()["y"] if stop else top + shape.height)
        clip = {"x": 0, "y": top, "width": shape.width, "height": bottom - top}
        tab.screenshot(path=scratch / "column.png", full_page=True, clip=clip)
        with Image.open(scratch / "column.png") as column:
            whole.paste(column.convert("RGB"), (place * shape.width, 0))
    return whole


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
