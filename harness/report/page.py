"""Sections to one HTML page that needs nothing else: no network, no server, no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError, UsageError
from harness.metrics.contract import Metric
from harness.metrics.question_json import MALFORMED
from harness.report.calibrated import calibrated_section
from harness.report.classed import classed_section
from harness.report.confused import confused_section
from harness.report.curves import curves_section
from harness.report.drawing import MISSING, clipped
from harness.report.kept import MOST_EXAMPLES, kept_section
from harness.report.running import running_section
from harness.report.scored import scored_section
from harness.report.sections import Section
from harness.report.sliced import sliced_section
from harness.report.sources import read_sources
from harness.report.subjects import Reported
from harness.report.verdict import verdict_section
from harness.report.whole import whole_section
from harness.version import __version__

__all__ = ["TEMPLATES", "render", "render_sections", "sections"]

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_TEXT = 300  # letters of a cell: what a job names may be a megabyte


def sections(
    reported: Reported, own: Callable[[str], type[Metric]] | None = None, examples: int = MOST_EXAMPLES
) -> list[Section]:
    """Return the sections of a page, from top to bottom; see `render`."""
    sources, kept = read_sources(reported, own), kept_section(reported, examples)
    parts = [
        verdict_section(reported),
        whole_section(reported, sources),
        sliced_section(reported),
        classed_section(reported),
        *(make(sources) for make in (scored_section, calibrated_section)),
        confused_section(sources, kept.content if kept else ()),
        curves_section(reported, sources),
        kept,
        running_section(reported),
    ]
    return [part for part in parts if part is not None]


def render(
    reported: Reported,
    *,
    title: str = "",
    own: Callable[[str], type[Metric]] | None = None,
    examples: int = MOST_EXAMPLES,
) -> str:
    """Return the page.

    Args:
      reported: what it is made of.
      title: of the page; the names of the runs where there is none.
      own: finds metrics of the user's own, see `question_json.from_json`; without it they have no plots.
      examples: at most so many are shown of each list and group that a run keeps.
    Raises: UsageError: what draws or lays out is not installed. RunFolderError: a file is not what a run writes.
    """
    names = ", ".join(subject.name for subject in reported.subjects)
    try:
        parts = sections(reported, own, examples)
    except MALFORMED as exc:
        raise RunFolderError(f"{names}: a file of it is not what a run writes: {type(exc).__name__}: {exc}") from exc
    return render_sections("page.html", parts, title or names)


def render_sections(template: str, parts: Sequence[Section], title: str) -> str:
    """Return the page of a template: its sections, with styles and scripts inside it.

    Raises: UsageError: what lays out is not installed.
    """
    css, script = ("".join((TEMPLATES / f"{name}.{kind}").read_text() for name in ("page", "kept")) for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text: str = (
        _environment()
        .get_template(template)
        .render(sections=parts, title=title, css=css, script=script, script_digest=digest, version=__version__)
    )
    return text


@cache
def _environment() -> Any:
    """Return jinja2's environment: every text is escaped, and a name that a template lacks is an error.

    Raises: UsageError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as exc:
        raise UsageError(MISSING.format(name="Jinja2")) from exc
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"clip": lambda text: clipped(text, LONGEST_TEXT), "drawn": Markup}
    return environment
