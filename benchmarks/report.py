"""One page of what was measured: Markdown, and HTML with plots that needs no other file. Reads; measures nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.targets import Met, met
from harness.bench.page import BenchPart
from harness.report.drawing import MARKERS, SERIES, new_figure, style, svg
from harness.report.page import render_sections
from harness.report.sections import Figure, Section
from harness.results.tables import TextTable, number

__all__ = ["UnlikeError", "load", "markdown", "page"]

# What must agree between measurements that stand on one page; the load of the machine may differ.
ALIKE = ("platform", "processor", "cores", "python", "versions")

PAGE, TEMPLATE = "measured_page.html", "bench.html"

Document = Mapping[str, Any]


class UnlikeError(Exception):
    """Measurements come from unlike environments."""


def load(folder: Path) -> dict[str, Document]:
    """Return the newest document of each question.

    Raises: UnlikeError: two come from unlike environments.
    """
    newest: dict[str, Document] = {}
    for path in sorted(folder.glob("*-*.json")):  # the time is in the name
        document = json.loads(path.read_text())
        newest[document["question"]] = {**document, "file": path.name}
    first: tuple[str, Document] | None = None
    for question, document in newest.items():
        here = {key: document["environment"][key] for key in ALIKE}
        if first is not None and here != {key: first[1]["environment"][key] for key in ALIKE}:
            unlike = [key for key in ALIKE if here[key] != first[1]["environment"][key]]
            raise UnlikeError(
                f"{document['file']} and {first[1]['file']} differ in {', '.join(unlike)}: measure '{question}' and "
                f"'{first[0]}' in one environment, or move one file away"
            )
        first = first or (question, document)
    return newest


def markdown(documents: Mapping[str, Document]) -> str:
    """Write the page as Markdown."""
    lines = ["# Benchmarks", "", *_environment(documents), "", "## Targets", "", _targets(met(documents))]
    for question, document in documents.items():
        lines += ["", f"## {question}", "", document.get("table", ""), "", f"Raw values: `{document['file']}`."]
    return "\n".join(lines) + "\n"


def page(documents: Mapping[str, Document]) -> str:
    """Write the page as HTML, in the style of `harness report` and `harness bench`."""
    targets = BenchPart(sentences=[line for line in _environment(documents) if line], tables=_tables(_targets(met(documents)))[1])
    parts = [Section("targets", "Targets", TEMPLATE, targets)]
    for question, document in documents.items():
        sentences, tables = _tables(document.get("table", ""))
        sentences += [f"Raw values: {document['file']}."]
        part = BenchPart(sentences=sentences, figures=_figures(question, document), tables=tables)
        parts.append(Section(question, question, TEMPLATE, part))
    return render_sections(PAGE, parts, "Benchmarks")


def _environment(documents: Mapping[str, Document]) -> list[str]:
    if not documents:
        return ["Nothing has been measured."]
    where = next(iter(documents.values()))["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    loads = ", ".join(f"{question} {document['environment']['load'][0]:.1f}" for question, document in documents.items())
    return [
        f"{where['processor']}, {where['cores']} cores, {where['platform']}, Python {where['python']}; {versions}.",
        "",
        f"Load of the machine when each was written (its own work included): {loads}.",
    ]


def _targets(found: Sequence[Met]) -> str:
    lines = ["| what | target | measured | |", "| --- | ---: | ---: | --- |"]
    for one in found:
        bound = f"{'at least' if one.target.at_least else 'at most'} {one.target.bound:g}"
        value = "-" if one.found is None else f"{one.found:.3g}"
        lines.append(f"| {one.target.text} | {bound} | {value} | {one.verdict} |")
    return "\n".join(lines)


def _tables(text: str) -> tuple[list[str], list[TextTable]]:
    """Take Markdown tables, and the lines between them, apart."""
    sentences, tables, inside = [], [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        is_row = line.startswith("|")
        if is_row and not inside:
            tables.append(TextTable(cells))
        elif is_row and not set(line) <= set("|-: "):
            tables[-1].rows.append(cells)
        elif not is_row and line.strip():
            sentences.append(line)
        inside = is_row
    return sentences, tables


def _figures(question: str, document: Document) -> list[Figure]:
    """Draw what is better seen than read."""
    if question.startswith("loop"):
        return [_bars(case["case"]["name"], case["examples_per_s"], "examples/s") for case in document["cases"]]
    if question == "peers":
        return [_bars(case["case"], {leg: min(s) for leg, s in case["seconds"].items()}, "s") for case in document["cases"]]
    if question == "scaling":
        return [_lines({case["case"]: _efficiency(case) for case in document["cases"]}, "ranks", "efficiency")]
    if question == "reduction":
        raw = document["reduction"]
        curves = {
            name: {int(size): 1e3 * sorted(values)[len(values) // 2] for size, values in raw[key].items()}
            for name, key in (("harness", "ours"), ("MPI_Allreduce", "bare"))
        }
        return [_lines(curves, "bytes", "ms", logarithmic=True)]
    return []


def _efficiency(case: Document) -> dict[int, float]:
    """The time of one rank over that of p ranks, times p; crowded ranks share cores, which the page says."""
    alone = min(max(rank["evaluate"] for rank in run["seconds"]) for run in case["alone"])
    found = {1: 1.0}
    for run in (*case["strong"], *case["crowded"]):
        loop_s = max(rank["evaluate"] for rank in run["seconds"])
        found[run["ranks"]] = max(found.get(run["ranks"], 0.0), alone / loop_s / run["ranks"])
    return found


def _bars(title: str, values: Mapping[str, float], unit: str) -> Figure:
    with style(title):
        figure = new_figure(560, 60 + 34 * len(values))
        axes = figure.subplots()
        axes.barh(list(values), list(values.values()), color=SERIES[0])
        axes.invert_yaxis()
        axes.set_xlabel(unit)
        drawing = svg(figure)
    return Figure(drawing, title, TextTable(["leg", unit], [[name, number(value)] for name, value in values.items()]))


def _lines(curves: Mapping[str, Mapping[int, float]], x: str, y: str, *, logarithmic: bool = False) -> Figure:
    title = f"{y} by {x}"
    with style(title):
        figure = new_figure(560, 320)
        axes = figure.subplots()
        for place, (name, points) in enumerate(curves.items()):
            color, marker = SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]
            axes.plot(sorted(points), [points[at] for at in sorted(points)], marker=marker, color=color, label=name)
        if logarithmic:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.legend()
        drawing = svg(figure)
    every = sorted({at for points in curves.values() for at in points})
    rows = [[f"{at:,}", *(number(points.get(at)) for points in curves.values())] for at in every]
    return Figure(drawing, title, TextTable([x, *curves], rows))
