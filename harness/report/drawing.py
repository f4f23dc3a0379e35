"""Figures as SVG that stands in a page: its colours are the page's, its texts are texts, its bytes are the same twice.

Knows nothing of runs and metrics. Whoever draws takes colours from here and draws within `style()`.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.names.texts import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FAINT", "INK", "LINE", "MARKERS", "MISSING", "MUTED", "PAPER", "SERIES", "clipped", "for_width", "new_figure", "plain",
    "style", "svg",
]  # fmt: skip

MISSING = "{name} is not installed, which the report is made with: pip install 'exact-harness[report]'"
INK, MUTED, FAINT, LINE, PAPER = "#1b1d21", "#5a6069", "#9aa0a8", "#d9dce1", "#fefefe"
# M. Okabe, K. Ito, Color universal design, 2008: told apart with any colour vision. A marker of its own goes with each.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6ecf", "#8c8c00")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
VARIABLES = {INK: "--ink", MUTED: "--muted", FAINT: "--faint", LINE: "--line", PAPER: "--paper"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}
DOTS_PER_INCH = 72  # a point is a pixel of the page
LONGEST = 40  # letters of a label in a figure
LEAST_WIDTH = 430  # pixels to which a wide figure is shrunk on a small screen: its letters can still be read

HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
GROUP_ID = re.compile(r'<g id="[^"]*"')
COMMENT = re.compile(r"\s*<!--.*?-->", re.DOTALL)
FONT = re.compile(r"font: ([^;\"]*?)([\d.]+px)[^;\"]*")
COLOUR = re.compile("|".join(VARIABLES))
SIZE = re.compile(r'<svg [^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>')


@contextlib.contextmanager
def style(salt: str = "harness") -> Iterator[None]:
    """Have figures look like the page within.

    Args:
      salt: what the ids within an SVG are made with: those of two figures of a page differ.
    Raises: UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as exc:
        raise UsageError(MISSING.format(name="matplotlib")) from exc
    options: dict[Any, Any] = {
        "svg.hashsalt": salt, "svg.fonttype": "none", "text.parse_math": False, "font.size": 12, "font.family": "DejaVu Sans",
        "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": LINE, "axes.linewidth": 1, "axes.facecolor": "none",
        "axes.titlesize": 12, "axes.titlelocation": "left", "axes.titlecolor": INK, "axes.labelsize": 11, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.7,
        "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "xtick.labelsize": 11,
        "ytick.labelsize": 11, "figure.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False,
        "legend.fontsize": 11, "lines.linewidth": 1.8, "figure.dpi": DOTS_PER_INCH, "savefig.dpi": DOTS_PER_INCH,
    }  # fmt: skip
    with warnings.catch_warnings(), matplotlib.rc_context(options):
        # A letter that the font lacks is measured wrongly, and drawn by the browser's fonts.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many pixels, which no window shows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), layout="constrained")


def plain(axes: Axes) -> None:
    """Take away the frame and the lines across."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.grid(visible=False)
    axes.tick_params(length=0)


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element without a name: whoever shows it says what it shows."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = METADATA.sub("", HEAD.sub("", buffer.getvalue()))
    text = GROUP_ID.sub("<g", COMMENT.sub("", text))
    text = FONT.sub(r"font: \1\2 var(--sans)", text)
    text = COLOUR.sub(lambda match: f"var({VARIABLES[match[0]]})", text)
    return SIZE.sub(_root, text, count=1).strip()


def for_width(wide: str, narrow: str) -> str:
    """Return two drawings of the same as one: the page shows that for its width."""
    return f'<div class="at-wide">{wide}</div><div class="at-narrow">{narrow}</div>'


def _root(match: re.Match[str]) -> str:
    width, height = (float(size) for size in match.groups())
    least = min(width, LEAST_WIDTH)
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" style="min-width: {least:g}px" aria-hidden="true" focusable="false">'
    )


def clipped(text: object, longest: int = LONGEST) -> str:
    """Return a text as a label: on one line, without what controls a terminal or a page, and not too long.

    >>> clipped("a" * 50, 8), clipped("a\\nb"), clipped("\\x00")
    ('aaaaaaa…', 'a b', '\\\\x00')
    """
    label = str(text)[: 4 * longest]  # of a megabyte the rest need not be looked at
    cut = len(str(text)) > len(label)
    label = printable(" ".join(label.split()))
    return label if len(label) <= longest and not cut else f"{label[: longest - 1]}…"
