"""Draw the result of a run as an SVG, as a terminal shows it.

python docs/site/picture.py examples/digits/runs/digits docs/result.svg   # after make demo: the picture of the quickstart

Rich's own template loads a font from elsewhere; this one takes what the reader has. Its background is its own, so that it can be
read on light and on dark pages.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console

from harness.folder.run_folder import RunFolder
from harness.results.terminal import show

__all__ = ["draw", "result"]

COMMAND = "$ harness launch -np 2 -- evaluate examples/digits/job.yaml"
LAST = "certificate:"  # below it are seconds and paths, which differ from run to run
WIDTH = 100
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>The result of a run</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
<rect fill="#292929" x="1" y="1" width="100%" height="100%" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def result(run: Path) -> list[str]:
    """Return the lines of a run's result that are the same in every run of its job."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, color_system=None)
    show(RunFolder(run), console)
    lines = console.export_text().splitlines()
    (last,) = [index for index, line in enumerate(lines) if line.startswith(LAST)]
    return [line.rstrip() for line in lines[: last + 1]]


def draw(lines: list[str]) -> str:
    """Return lines of text as an SVG."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, highlight=False)
    for line in lines:
        console.print(line, style="bold" if line.startswith("$ ") else None, markup=False)
    return console.export_svg(code_format=TEMPLATE, unique_id="result")


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw([COMMAND, *result(Path(sys.argv[1]))]))
