"""Benches against each other: what is accepted, what is refused, and how documents say it."""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.bench.acceptance import accept_bench, judge_ratio, share
from harness.bench.answer import answer
from harness.bench.bench import write
from harness.bench.bench_folder import BenchFolder
from harness.bench.documents import read, to_json, to_markdown
from harness.bench.page import render
from harness.bench.ratio import compare_benches
from harness.bench.rules import Rules
from harness.comparison.judgements import Verdict
from harness.errors import HarnessError, RunFolderError, UsageError
from tests import schemas
from tests.bench.frozen import MACHINE
from tests.bench.frozen import frozen_bench as bench


@pytest.mark.parametrize(
    ("factor", "options", "verdict", "code"),
    [
        (1.0, {}, Verdict.PASS, 0),
        (0.5, {}, Verdict.PASS, 0),
        (1.5, {}, Verdict.FAIL, 1),
        (0.5, {"digest": "c" * 64}, Verdict.FAIL, 1),  # faster, and another result
        (1.06, {"spread": 0.08}, Verdict.INCONCLUSIVE, 5),
    ],
    ids=["same", "faster", "slower", "other bytes", "too few repeats"],
)
def test_a_bench_is_judged_by_a_reference(factor: float, options: dict[str, Any], verdict: Verdict, code: int) -> None:
    reference = bench(spread=options.get("spread", 0.01))
    ruling = accept_bench(reference, bench(factor, **options), 0.1, ("reference", "bench"))
    assert (ruling.gated.verdict, ruling.exit_code()) == (verdict, code), ruling
    root = ElementTree.fromstring(ruling.text("junit"))
    assert int(root.attrib["tests"]) == 2 + 2 * 3  # both are valid; bytes, time and speed of each size
    assert (int(root.attrib["failures"]) > 0) == (verdict is Verdict.FAIL)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_repeats_are_inconclusive_and_say_how_many_it_takes(count: int) -> None:
    rules = Rules((1, 2), repeat=count)
    for factor in (1.0, 1.5):  # neither good nor bad can be told
        ruling = accept_bench(bench(rules=rules), bench(factor, rules), 0.1, ("reference", "bench"))
        assert ruling.exit_code() == 5, ruling
        assert "95% is needed: at least 4 in each" in repr(ruling)


def test_many_rules_need_more_repeats_to_fail() -> None:
    first, second = [1.0, 1.01, 1.02, 1.03], [2.0, 2.01, 2.02, 2.03]
    # Four repeats lie wholly apart in 1 of 70 orders: 5 % over 2 rules allow 1 in 40, over 6 rules 1 in 120.
    few, many = (judge_ratio("time", second, first, 1.05, rules=rules, is_floor=False) for rules in (2, 6))
    assert (few.verdict, many.verdict) == (Verdict.FAIL, Verdict.INCONCLUSIVE)
    assert "it takes --repeat 5 to tell" in many.reason and "97.1% interval [1.942, 2.030]" in few.reason


FALSE_ALARMS = 0.05
ROUNDS = 400


@pytest.mark.parametrize("noise", [0.05, 0.2])
@pytest.mark.parametrize("count", range(2, 11))
def test_equal_machines_fail_no_more_often_than_is_said(noise: float, count: int) -> None:
    rng = np.random.default_rng(20)
    alarms = 0
    for _ in range(ROUNDS):
        verdicts = []
        for is_floor in (False, True) * 3:  # three sizes
            own, reference = (np.exp(noise * rng.normal(size=count)).tolist() for _ in range(2))
            bound = 0.95 if is_floor else 1.05
            verdicts.append(judge_ratio("rule", own, reference, bound, rules=6, is_floor=is_floor).verdict)
        alarms += Verdict.FAIL in verdicts
    assert alarms <= FALSE_ALARMS * ROUNDS + 3 * (FALSE_ALARMS * (1 - FALSE_ALARMS) * ROUNDS) ** 0.5
    assert alarms == 0 or count >= 5


def test_a_size_that_is_missing_fails() -> None:
    reference, small = bench(), bench()
    facts = [fact for fact in small.facts if fact.ranks == 1]
    ruling = accept_bench(reference, answer("job.yaml", Rules((1, 2)), None, facts, MACHINE, []), 0.1, ("reference", "bench"))
    assert ruling.exit_code() == 1 and "a result at 2 ranks" in repr(ruling)


@pytest.mark.parametrize("other", [{"rules": Rules((1, 2), overrides=("batch_size=8",))}, {"examples": 4000}])
def test_benches_of_other_work_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not of the same work"):
        compare_benches(bench(), bench(**other), ("a", "b"))


def test_benches_of_other_jobs_are_refused_or_marked() -> None:
    with pytest.raises(UsageError, match="metrics: accuracy and mean_squared_error"):
        compare_benches(bench(), bench(values={"mean_squared_error": 3.0}), ("a", "b"))
    digests = [{"job": "1" * 64, "data": "2" * 64, "model": model * 64} for model in "34"]
    same, other = (bench(digests=own, bits=own["model"], values={"accuracy": 0.5}) for own in digests)
    notes = " ".join(compare_benches(same, other, ("a", "b")).notes)
    assert "not of the same work: another model, by digest" in notes and "last digits" not in notes
    assert not compare_benches(same, same, ("a", "b")).notes


@pytest.mark.parametrize(("value", "words"), [(0.6, "more than last digits"), (0.5 + 1e-9, "may give other last digits")])
def test_how_far_results_are_apart_is_said(value: float, words: str) -> None:
    (note,) = compare_benches(bench(), bench(values={"accuracy": value}, bits="other"), ("a", "b")).notes
    assert words in note and "accuracy by" in note


def edited(document: dict[str, Any], keys: tuple[Any, ...], value: Any) -> str:
    """Return a document as text, with another value in a place of it; GONE takes the place out."""
    changed = copy.deepcopy(document)
    *way, last = keys
    place = functools.reduce(operator.getitem, way, changed)
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return json.dumps(changed)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("trials", 2, "wall_s"), float("nan"), "not finite"),
        (("trials", 2, "wall_s"), 0.0, r"trials.2.wall_s: Input should be greater than 0, found 0.0"),
        (("trials", 2, "wall_s"), "3", "trials.2.wall_s: Input should be a valid number, found '3'"),
        (("trials", 2, "run"), {}, "trials.2.run.attempt: Field required"),
        (("trials", 2, "run", "attempt", "elapsed_s"), 0, "elapsed_s: Input should be greater than 0"),
        (("trials", 1, "run", "attempt", "ranks"), [], "trials.1: expected an account of each of its 2 ranks"),
        (("trials", 2, "digest"), "", "trials.2.digest: String should match"),
        (("trials", 2, "state"), "fine", "trials.2.state: Input should be 'done' or 'failed'"),
        (("trials", 2, "values"), {"accuracy": None}, "trials.2.values.accuracy"),
        (("rules", "repeat"), 10**9, "ask for 2,000,000,002 trials"),
        (("rules",), {}, "rules.ranks: Field required"),
        (("machine",), None, "machine: Input should be a valid dictionary"),
        (("schema_version",), 2, "schema_version 1, found 2"),
    ],
)
def test_a_bench_that_was_edited_is_refused(tmp_path: Path, keys: tuple[Any, ...], value: Any, message: str) -> None:
    (tmp_path / "bench.json").write_text(edited(json.loads(to_json(bench())), keys, value))
    with pytest.raises(RunFolderError, match=message):
        read(tmp_path)


def test_a_bench_that_is_torn_is_refused_wherever_it_was_torn(tmp_path: Path) -> None:
    text = to_json(bench())
    for length in range(0, len(text) - 2, 997):
        (tmp_path / "bench.json").write_text(text[:length])
        with pytest.raises(RunFolderError, match="expected a bench"):
            read(tmp_path)


GONE = object()
ODD = (GONE, None, "x", -1, 10**30, 3.5, [None], {"a": None})


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through the places of a document; of a list the first."""
    parts = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*way, key)
        yield from places(part, (*way, key))


def test_whatever_is_edited_is_refused_or_does_no_harm(tmp_path: Path) -> None:
    reference = bench(rules=Rules((1, 2), repeat=2))
    document = json.loads(to_json(reference))
    document = {key: document[key] for key in ("schema_version", "job", "command", "rules", "examples", "machine", "trials")}
    document["trials"].sort(key=lambda trial: trial["ranks"], reverse=True)  # a trial of two ranks first
    refused = 0
    for keys in places(document):
        for value in ODD:
            (tmp_path / "bench.json").write_text(edited(document, keys, value))
            try:
                found = read(tmp_path)
                accept_bench(reference, found, 0.1, ("a", "b")).text("junit")
                compare_benches(found, reference, ("b", "a"))
                schemas.check("bench.json", to_json(found))
                to_markdown(found)
            except HarnessError:
                refused += 1
    assert refused > 250


def test_the_folder_of_a_kit_is_read(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/bench.json").write_text(to_json(bench()))
    assert read(tmp_path).name == "job.yaml"


def test_other_rules_are_noted_and_ratios_have_intervals() -> None:
    compared = compare_benches(bench(), bench(2.0, Rules((1, 2), repeat=3)), ("a", "b"))
    assert "rules differ: repeat: 5 and 3" in compared.notes
    (ratio,) = (line.ratio for line in compared.ratios if (line.size, line.figure) == ("2", "rate"))
    assert ratio.value == pytest.approx(0.5, rel=0.05) and ratio.low is not None and ratio.low < 0.5 < (ratio.high or 0.0)


def test_documents_hold_what_was_measured_and_are_read_again(tmp_path: Path) -> None:
    found = bench()
    folder = BenchFolder(tmp_path)
    write(found, folder)
    schemas.check("bench.json", folder.bench_json.read_text())
    assert to_json(read(tmp_path)) == to_json(found)
    assert folder.bench_csv.read_text().count("\n") == 11 and "VALID" in to_markdown(found)
    page = render(found)
    assert "Medians over repeats, in brackets their intervals" in page and "94% of benches" in page
    assert "A &lt;b&gt;" in page and "<b>" not in page and "Reading binds" in page
    with pytest.raises(RunFolderError, match="expected a bench"):
        read(tmp_path / "trials")


@pytest.mark.parametrize("text", ["5", "100%", "-1%", "five", ""])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--tolerance"):
        share(text)
