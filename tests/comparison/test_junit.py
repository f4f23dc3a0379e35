"""JUnit's XML of a gate, held against a schema by a validator of XML Schema, with names that no XML should have to hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from harness.comparison.gate import gate
from harness.comparison.gate_documents import junit
from harness.comparison.rules import rules_of
from harness.comparison.sides import WHOLE
from tests.comparison.test_gate import accuracy, side

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parent / "junit.xsd"))
HOSTILE = [
    "<&>\"'", "]]>", "<!--", "&amp;", "a\nb\tc\r", "\x00\x01\x1b[31m", "\ud800", "\ufffe\uffff", "\u202e", "é\U0001f600",
    "", " ", "x" * 5000, "${{ secrets }}", "::error::",
]  # fmt: skip


def parsed(text: str) -> etree._Element:
    """Parse a document, and see that it is as the schema says."""
    document = etree.fromstring(text.encode())
    SCHEMA.assertValid(document)
    return document


@pytest.mark.parametrize("run", ["runs/new", *HOSTILE])
def test_names_of_all_kinds_leave_the_document_valid(run):
    slices = {
        (("g", name),): {"accuracy": accuracy(right, 500)} for name, right in zip(HOSTILE, (460, 430, 400) * 5, strict=True)
    }
    rules = [
        {"accuracy": {"by": "g", "at_least": 0.85, "level": 0.6}},
        {"accuracy": {"at_least": 0.5}},
        {"nulls": {"at_most": 0}},
    ]
    slices[("g", "\x00]]> few"),] = {"accuracy": accuracy(1, 2)}
    found = gate(side({WHOLE: {"accuracy": accuracy(900, 1000)}, **slices}), rules_of(rules, "x"))
    suites = parsed(junit(found, run))
    (suite,) = suites
    cases = list(suite.iter("testcase"))
    assert suite.findtext("system-out") == "note: 1 slice of fewer than 30 examples is not judged: g=�]]> few\n"
    counts = [str(len(cases)), *(str(len(list(suite.iter(tag)))) for tag in ("failure", "error"))]
    assert [suites.get(name) for name in ("tests", "failures", "errors")] == counts and counts[0] == "17"
    assert counts[1] != "0" != counts[2]
    assert [case.get("name").partition("g=")[2] for case in cases[:15]][:4] == HOSTILE[:4]
    assert all(case[0].text == case[0].get("message") for case in cases if len(case) and "\n" not in case[0].get("message"))


BROKEN = {
    "a count that is none": ('tests="3"', 'tests="three"'),
    "less than none": ('failures="0"', 'failures="-1"'),
    "a case without a name": ('<testcase name="b" time="0"/>', '<testcase time="0"/>'),
    "an unknown element": ('<testcase name="b" time="0"/>', '<test name="b"/>'),
    "an unknown attribute": ('time="0"/>', 'seconds="0"/>'),
    "out of order": ("<properties/>", "<system-out/><properties/>"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_the_schema_refuses_what_is_none(kind):
    good = '<testsuite name="a" tests="3" failures="0"><properties/><testcase name="b" time="0"/></testsuite>'
    parsed(good)
    old, new = BROKEN[kind]
    assert old in good
    with pytest.raises(etree.DocumentInvalid):
        parsed(good.replace(old, new))
