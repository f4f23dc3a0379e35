"""A load test as one HTML page, in the style of `harness report`: it needs no network, no server, no script but its own."""

from __future__ import annotations

from dataclasses import replace

from harness.bench.page import BenchPart
from harness.load.findings import LoadFindings
from harness.report.endpoint_latency import latency_figure, latency_over_time
from harness.report.page import render_sections
from harness.report.sections import Section
from harness.results.slice_latency import slice_latency_table
from harness.results.tables import TextTable, metrics_table, number

__all__ = ["render"]

PAGE, TEMPLATE = "load_page.html", "bench.html"
NOTE = (
    "Each query that was answered, from the moment in which it came to its answer. In brackets the interval of 95 %; .. stands "
    "for an end that so few queries leave open."
)


def render(findings: LoadFindings) -> str:
    """Return the page.

    Raises: UsageError: what draws or lays out is not installed.
    """
    name = str(findings.request.scenario)
    verdict = BenchPart(findings.word.upper(), sentences=list(findings.judgement.sentences), tables=[_facts(findings)])
    parts = [Section("verdict", "Is the load borne?", TEMPLATE, verdict)]
    entry = findings.latency_entry
    if (figure := latency_figure(entry, name)) is not None:
        tail = replace(figure, title=f"How long queries took, {name}", note=NOTE)
        over_time = latency_over_time(entry["endpoint_latency"][""], name)
        figures = [tail, *([over_time] if over_time else [])]
        slices = slice_latency_table(entry["endpoint_latency"][""])
        tables = [] if slices is None else [replace(slices, title="Latency by slice, the slowest first by p99")]
        parts.append(Section("latency", "Latency", TEMPLATE, BenchPart(figures=figures, tables=tables)))
    if findings.accuracy is not None:
        sentence = f"In accuracy mode each of {findings.target.examples:,} examples was asked for once."
        tables = [replace(metrics_table(findings.accuracy), title="Metrics of the answers")]
        parts.append(Section("accuracy", "What was answered", TEMPLATE, BenchPart(sentences=[sentence], tables=tables)))
    rules = ["Rules of MLPerf Inference that are not kept:", *findings.document()["rules_not_kept"]]
    parts.append(Section("rules", "By whose rules", TEMPLATE, BenchPart(sentences=rules)))
    return render_sections(PAGE, parts, f"{findings.target.model} under load: {findings.headline}")


def _facts(findings: LoadFindings) -> TextTable:
    document = findings.document()
    queries = document["queries"]
    rows = [
        ["queries", number(queries["sent"])],
        ["answered", number(queries["answered"])],
        ["failed", number(queries["failed"])],
        ["never sent", number(queries["never_sent"])],
        ["retries", number(document["retries"])],
        ["examples a second", f"{document['examples_per_s']:,.4g}"],
        ["connections", number(document["connections"])],
        ["LoadGen says", "valid" if document["loadgen"]["valid"] else "not valid"],
    ]
    return TextTable(["fact", "value"], rows, title="What was measured")
