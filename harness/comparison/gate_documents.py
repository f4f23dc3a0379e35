"""Judgements as documents: a table, JSON, Markdown, JUnit's XML, annotations of GitHub. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from xml.etree import ElementTree

from harness.comparison.judgements import Gated, Judgement, Verdict
from harness.names.texts import printable
from harness.results.tables import TextTable, markdown, markdown_text, number

__all__ = ["github", "junit", "table", "to_json", "to_markdown"]

SCHEMA_VERSION = 1


def table(gated: Gated) -> TextTable:
    """Return a line a rule."""
    shown = TextTable(["rule", "verdict", "value", "bound", "interval", "remark"])
    for each in gated.judgements:
        bound = "" if each.bound is None else number(each.bound)
        value = number(each.value, _error(each))
        shown.rows.append([each.title or each.rule, each.verdict.value, value, bound, _interval(each), remark(each)])
    return shown


def remark(each: Judgement) -> str:
    """Say what the numbers do not: which slice decides, and what it would take to know."""
    parts = [each.where, each.reason]
    if each.verdict is Verdict.INCONCLUSIVE and each.low is not None:
        parts.append(
            f"about {each.wanted_examples:,} examples would tell, there are {each.examples:,}"
            if each.wanted_examples is not None
            else "the value lies on the bound: no number of examples tells"
        )
    return "; ".join(part for part in parts if part)


def to_json(gated: Gated, run: str, baseline: str | None) -> str:
    """Return gate.json; see docs/schemas/gate.json."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "verdict": gated.verdict.value,
        "run": run,
        "baseline": baseline,
        "rules": [_entry(each) for each in gated.judgements],
        "notes": list(gated.notes),
        "slices": {gated.judgements[place].rule: [_entry(each) for each in found] for place, found in gated.slices.items()},
    }
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def to_markdown(gated: Gated, run: str) -> str:
    """Return a summary for a pull request."""
    return f"**{gated.verdict.value}**: {markdown_text(run)}\n\n{markdown(table(gated))}\n" + "".join(
        f"\nNote: {markdown_text(note)}\n" for note in gated.notes
    )


def junit(gated: Gated, run: str) -> str:
    """Return JUnit's XML, as Jenkins and GitLab read it: a test case a rule, and a slice of a rule on slices.

    A rule that is inconclusive is an error, one that fails a failure.
    """
    cases = list(_cases(gated))
    count = {verdict: sum(each.verdict is verdict for _, each in cases) for verdict in Verdict}
    numbers = {"tests": str(len(cases)), "failures": str(count[Verdict.FAIL]), "errors": str(count[Verdict.INCONCLUSIVE])}
    suites = ElementTree.Element("testsuites", {"name": "harness gate", **numbers})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _printable(run), **numbers})
    for name, each in cases:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "harness.gate", "name": _printable(name), "time": "0"})
        if each.verdict is not Verdict.PASS:
            tag = "failure" if each.verdict is Verdict.FAIL else "error"
            text = _printable(sentence(each))
            ElementTree.SubElement(case, tag, {"message": text, "type": each.verdict.value}).text = text
    if gated.notes:
        ElementTree.SubElement(suite, "system-out").text = _printable("".join(f"note: {note}\n" for note in gated.notes))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def github(gated: Gated) -> str:
    """Return a line a rule that does not pass, as GitHub Actions shows it at the run."""
    kinds = {Verdict.FAIL: "error", Verdict.INCONCLUSIVE: "warning"}
    lines = [
        f"::{kinds[each.verdict]} title={_escaped(f'{each.verdict.value}: {each.rule}', ',:')}::{_escaped(sentence(each))}"
        for _, each in _cases(gated)
        if each.verdict in kinds
    ]
    return "".join(f"{line}\n" for line in lines)


def sentence(each: Judgement) -> str:
    """Return a judgement in one line."""
    bound = "" if each.bound is None else f"against {number(each.bound)}"
    more = f"({text})" if (text := remark(each)) else ""
    numbers = " ".join(part for part in (number(each.value, _error(each)), _interval(each), bound, more) if part)
    return f"{each.verdict.value}: {each.rule}: {numbers}"


def _interval(each: Judgement) -> str:
    if each.low is None or each.high is None:
        return ""
    return f"[{number(each.low, _error(each))}, {number(each.high, _error(each))}]"


def _error(each: Judgement) -> float | None:
    """Return about the standard error of a value, which says how many digits of it to show."""
    return None if each.low is None or each.high is None else (each.high - each.low) / 4


def _cases(gated: Gated) -> Iterator[tuple[str, Judgement]]:
    for place, each in enumerate(gated.judgements):
        if place in gated.slices:
            yield from ((f"{judged.rule}: {judged.where}", judged) for judged in gated.slices[place])
        else:
            yield each.rule, each


def _entry(each: Judgement) -> dict[str, object]:
    entry = asdict(each)
    del entry["title"]  # the label says it
    return {**entry, "verdict": each.verdict.value}


def _printable(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return "".join(letter if letter in "\t\n" or letter.isprintable() else "�" for letter in text)


def _escaped(text: str, also: str = "") -> str:
    """Return a text as a workflow command of GitHub holds it."""
    return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{also}" else letter for letter in printable(text))
