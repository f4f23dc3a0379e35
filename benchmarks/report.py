"""One page of what was measured: Markdown, and HTML with plots that needs no other file. Reads; measures nothing."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.targets import Met, met

__all__ = ["UnlikeError", "load", "markdown", "page"]

# What must agree between measurements that stand on one page; the load of the machine may differ.
ALIKE = ("platform", "processor", "cores", "python", "versions")

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
    """Write the page as HTML."""
    parts = [
        "<!doctype html><meta charset='utf-8'><title>Benchmarks</title>",
        f"<style>{STYLE}</style><h1>Benchmarks</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in _environment(documents) if line),
        "<h2>Targets</h2>",
        _html_table(_targets(met(documents))),
    ]
    for question, document in documents.items():
        parts.append(f"<h2>{html.escape(question)}</h2>")
        parts.append(_html_table(document.get("table", "")))
        parts += [
            f"<img alt='{html.escape(question)}' src='data:image/svg+xml;base64,{plot}'>" for plot in _plots(question, document)
        ]
        parts.append(f"<p>Raw values: <code>{html.escape(document['file'])}</code></p>")
    return "\n".join(parts) + "\n"


STYLE = (
    "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ccc;padding:.2rem .8rem;text-align:left}"
    "img{max-width:100%}"
)


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


def _html_table(text: str) -> str:
    """Turn lines with Markdown tables among them into HTML."""
    parts: list[str] = []
    rows: list[str] = []

    def flush() -> None:
        if rows:
            cells = [[html.escape(cell.strip()) for cell in row.strip().strip("|").split("|")] for row in rows]
            body = [cells[0], *cells[2:]]
            tags = ["th", *(["td"] * (len(body) - 1))]
            lines = ["".join(f"<{tag}>{cell}</{tag}>" for cell in row) for tag, row in zip(tags, body, strict=True)]
            parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
            rows.clear()

    for line in text.splitlines():
        if line.startswith("|"):
            rows.append(line)
        else:
            flush()
            if line.strip():
                parts.append(f"<p>{html.escape(line)}</p>")
    flush()
    return "\n".join(parts)


def _plots(question: str, document: Document) -> list[str]:
    """Draw what is better seen than read, as base64 of SVG."""
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


def _bars(title: str, values: Mapping[str, float], unit: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + 0.35 * len(values)), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(values), list(values.values()))
    axes.invert_yaxis()
    axes.set_title(title)
    axes.set_xlabel(unit)
    return _svg(figure)


def _lines(curves: Mapping[str, Mapping[int, float]], x: str, y: str, *, logarithmic: bool = False) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(sorted(points), [points[at] for at in sorted(points)], marker="o", label=name)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend()
    return _svg(figure)


def _svg(figure: Any) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return base64.b64encode(stream.getvalue()).decode()
