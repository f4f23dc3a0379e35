"""Gates: what passes, fails and is not known, and how often a gate is wrong in simulated data."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.stats

from harness.comparison import gate_documents
from harness.comparison.bounds import bounds_of, bounds_of_gap
from harness.comparison.gate import gate
from harness.comparison.judgements import Verdict
from harness.comparison.rules import read_rules, rules_of
from harness.comparison.sides import WHOLE, Number, Side
from harness.errors import UsageError
from harness.job.specs import BootstrapSpec
from harness.metrics import load
from harness.metrics.contract import Binding, Inputs
from harness.metrics.question import Question
from harness.results.tables import slice_name

REPLICATES = 400
SHARES = ("accuracy", "binary_accuracy", "exact_match", "top_k")
METRICS = {**{key: load(key)() for key in SHARES}, "cross_entropy": load("cross_entropy")(), "mean": load("mean")(label="x")}


def side(numbers: dict, name: str = "new") -> Side:
    """A side with such numbers by slice."""
    binding = Binding(Inputs.CLASSES, "output", "label")
    question = Question(METRICS, dict.fromkeys(METRICS, binding), bootstrap=BootstrapSpec(replicates=REPLICATES))
    document = {
        "certificate": {"examples": 1000, "id_hash": "00", "skipped": 2},
        "digests": {"data": "d"},
        "metrics": {key: {"value": 0.5, "examples": 1000} for key in METRICS},
        "definitions": {"cross_entropy": {"label": "cross entropy"}},
    }
    definitions = {key: {"metric": key} for key in METRICS}
    return Side(name, document, question, METRICS, definitions, {}, numbers)


def loss(value: float, error: float = 0.01, *, shared: int = 0, seed: int = 1) -> Number:
    """A number whose replicates are normal; those of one `shared` seed move together."""
    drawn = value + 5 * error * np.random.default_rng(shared).normal(size=REPLICATES)
    drawn = drawn + error * np.random.default_rng(seed).normal(size=REPLICATES)
    return Number(value, None, 1000, 5 * error, drawn)


def accuracy(right: int, examples: int) -> Number:
    return Number(right / examples, None, examples, 0.01, None)


@pytest.mark.parametrize("share", SHARES)
def test_bounds_of_a_share_of_examples_are_exact(share):
    found = judge({share: {"at_least": 0.7}}, side({WHOLE: {share: accuracy(313, 400)}}))
    low, high = scipy.stats.beta.ppf(0.05, 313, 88), scipy.stats.beta.ppf(0.95, 314, 87)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def judge(rule, run: Side, baseline: Side | None = None, **options):
    return gate(run, rules_of({"rules": [rule], **options}, "rules"), baseline).judgements[0]


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ({"accuracy": {"at_least": 0.85}}, "PASS"),
        ({"accuracy": {"at_least": 0.89}}, "INCONCLUSIVE"),
        ({"accuracy": {"at_least": 0.95}}, "FAIL"),
        ({"accuracy": {"at_most": 0.95}}, "PASS"),
        ({"accuracy": {"at_least": 0.89, "interval": False}}, "PASS"),
        ({"accuracy": {"at_least": 0.9001, "interval": False}}, "FAIL"),
        ({"cross_entropy": {"may_drop": 0.1}}, "PASS"),
        ({"cross_entropy": {"may_drop": 0.05}}, "INCONCLUSIVE"),
        ({"cross_entropy": {"may_drop": 0.0}}, "FAIL"),
        ({"cross_entropy": {"must_gain": 0.0}}, "FAIL"),
        ({"nll": {"may_drop": 0.1}}, "PASS"),
        ({"cross entropy": {"may_drop": 0.1}}, "PASS"),
        ({"nulls": {"at_most": 0}}, "PASS"),
        ({"certificate": {"examples": 1000, "id_hash": "00", "skipped_at_most": 2}}, "PASS"),
        ({"certificate": {"examples": 999}}, "FAIL"),
        ({"certificate": {"skipped_at_most": 1}}, "FAIL"),
    ],
)
def test_each_bound_has_three_verdicts(rule, verdict):
    run = side({WHOLE: {"accuracy": accuracy(900, 1000), "cross_entropy": loss(0.55, seed=2)}})
    before = side({WHOLE: {"accuracy": accuracy(900, 1000), "cross_entropy": loss(0.5)}}, "old")
    assert judge(rule, run, before).verdict is Verdict(verdict)


def test_an_inconclusive_rule_says_how_many_examples_would_tell():
    run = side({WHOLE: {"accuracy": accuracy(900, 1000), "cross_entropy": loss(0.5)}})
    found = judge({"accuracy": {"at_least": 0.89}}, run)
    low = scipy.stats.beta.ppf(0.05, 900, 101)
    assert (found.low, found.wanted_examples) == (pytest.approx(low), pytest.approx(1000 * ((0.9 - low) / 0.01) ** 2, rel=0.01))
    assert judge({"accuracy": {"at_least": 0.9}}, run).wanted_examples is None
    assert "no number of examples tells" in gate_documents.remark(judge({"accuracy": {"at_least": 0.9}}, run))


def test_rules_are_held_together_unless_they_say_otherwise():
    run = side({WHOLE: {"accuracy": accuracy(900, 1000), "cross_entropy": loss(0.5)}})
    rules = [{"accuracy": {"at_least": 0.8}}, {"cross_entropy": {"at_most": 0.9}}, {"nulls": {"at_most": 0}}]
    together = gate(run, rules_of(rules, "x")).judgements[0]
    alone = gate(run, rules_of({"rules": rules, "correct": "none"}, "x")).judgements[0]
    assert together.low == pytest.approx(scipy.stats.beta.ppf(0.025, 900, 101))
    assert alone.low == pytest.approx(scipy.stats.beta.ppf(0.05, 900, 101))
    own = gate(run, rules_of([{"accuracy": {"at_least": 0.8, "level": 0.99}}], "x")).judgements[0]
    assert own.low == pytest.approx(scipy.stats.beta.ppf(0.01, 900, 101))


def sliced(*right: int) -> Side:
    numbers = {WHOLE: {"accuracy": accuracy(sum(right), 500 * len(right))}}
    return side(numbers | {(("g", name),): {"accuracy": accuracy(k, 500)} for name, k in zip("abc", right, strict=False)})


def test_slices_are_judged_one_by_one_and_the_worst_speaks():
    found = gate(sliced(460, 450, 400), rules_of([{"accuracy": {"by": "g", "at_least": 0.85, "level": 0.9}}], "x"))
    (judgements,) = found.slices.values()
    assert [each.verdict.value for each in judgements] == ["PASS", "PASS", "FAIL"] and found.verdict is Verdict.FAIL
    assert found.judgements[0].where == "g=c"
    found = gate(sliced(460, 450, 440), rules_of([{"accuracy": {"by": ["g"], "at_least": 0.7}}], "x"))
    assert found.verdict is Verdict.PASS and found.judgements[0].where == "g=c"


@pytest.mark.parametrize(("at_most", "verdict"), [(0.2, "PASS"), (0.12, "INCONCLUSIVE"), (0.02, "FAIL")])
def test_gaps_between_slices(at_most, verdict):
    found = judge({"gap": {"metric": "accuracy", "by": "g", "at_most": at_most}}, sliced(460, 450, 400))
    assert found.verdict is Verdict(verdict) and found.value == pytest.approx(0.12) and found.where == "g=c and g=a"


def test_a_run_that_gains_by_one_example_passes_nothing():
    """One weighted example of 1,000 is judged better: the lowest replicates are just 0, which is the bound."""
    drawn = np.random.default_rng(2).poisson(1, REPLICATES) / 1000
    runs = [
        side({WHOLE: {"cross_entropy": Number(value, None, 1000, 0.01, 0.5 + part)}})
        for value, part in ((0.5, 0 * drawn), (0.501, drawn))
    ]
    for bound in ("must_gain", "may_drop"):
        judgement = judge({"cross_entropy": {bound: 0.0}}, runs[0], runs[1])
        assert (judgement.verdict.value, judgement.low) == (
            "INCONCLUSIVE",
            None,
        ) and "some replicates show none" in judgement.reason


def test_a_gap_that_few_replicates_bound_from_above_alone_may_pass():
    numbers = [loss(value, seed=seed) for seed, value in enumerate((0.5, 0.51, 0.52, 0.53), start=3)]
    numbers = [replace(number, replicates=np.sort(number.replicates)[::-1] ** 3) for number in numbers]  # not normal
    found = bounds_of_gap([replace(number, value=float(number.replicates.mean())) for number in numbers], 0.0126, counted=False)
    assert found.low == 0.0 and found.high is not None and found.high > found.value


def test_bounds_reach_further_to_the_side_that_replicates_are_skewed_to():
    drawn = np.random.default_rng(4).gamma(20, size=REPLICATES)
    number = Number(float(drawn.mean()), None, 1000, 1.0, drawn)
    found, mirrored = (
        bounds_of(number, 0.05, counted=False),
        bounds_of(replace(number, value=-number.value, replicates=-drawn), 0.05, counted=False),
    )
    low, high = np.quantile(drawn, [0.05, 0.95], method="weibull")
    assert found.low == pytest.approx(low) and found.high > high + 0.05 * drawn.std()
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_bounds_beyond_the_replicates_follow_their_spread_or_are_refused():
    number = loss(0.5)
    assert number.replicates is not None
    half = number.replicates[: REPLICATES // 2]
    number = replace(number, replicates=np.concatenate([half, 1 - half]))  # without skewness
    percentile = bounds_of(number, 0.05, counted=False)
    assert percentile.low == pytest.approx(np.quantile(number.replicates, 0.05, method="weibull"))
    far = bounds_of(number, 1e-4, counted=False)
    assert far.low == pytest.approx(0.5 + scipy.stats.t.ppf(1e-4, REPLICATES - 1) * number.replicates.std(ddof=1), rel=0.01)
    skew = replace(number, replicates=np.random.default_rng(3).exponential(size=REPLICATES))
    assert (
        bounds_of(skew, 1e-4, counted=False).reason
        == "a bound of 0.0001 takes 50,000 replicates, found 400; raise bootstrap.replicates"
    )


WRONG = [
    ([], "no rules: a gate without rules would pass everything"),
    ({"levels": 0.9, "rules": [{"accuracy": {"at_least": 0.9}}]}, "unknown key levels: did you mean 'level'?"),
    ([{"accuracy": {}}], "expected one of at_least, at_most, may_drop, must_gain, found none"),
    ([{"accuracy": {"at_least": 0.5, "at_most": 0.9}}], "found at_least and at_most"),
    ([{"accuracy": {"atleast": 0.5}}], "unknown key atleast: did you mean 'at_least'?"),
    ([{"accuracy": 0.9}], "rule 1 (accuracy): expected a bound, as in {at_least: 0.9}, found 0.9"),
    (["accuracy"], "rule 1: expected one metric with its bound"),
    ([{"accuracy": {"may_drop": -0.1}}], "may_drop: Input should be greater than or equal to 0"),
    ([{"gap": {"metric": "accuracy", "by": "g"}}], "at_most: Field required"),
    ([{"certificate": {}}], "expected examples, id_hash or skipped_at_most, found none"),
    ([{"accuracy": {"at_most": float("inf")}}], "at_most: Input should be a finite number"),
    ([{"accuracy": {"at_least": True}}], "at_least: expected a number, found true"),
    ("accuracy", "expected `rules:` with a list of rules"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "words"), WRONG)
def test_rules_that_say_nothing_are_refused_by_name(document, words):
    with pytest.raises(UsageError) as caught:
        rules_of(document, "rules.yaml")
    assert words in str(caught.value) and str(caught.value).startswith("rules.yaml")


@pytest.mark.timeout(20)
def test_a_pipe_or_a_device_is_no_file_of_rules(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match=f"{path}: cannot be read: .*no regular file"):
            read_rules(path)


MISSING = [
    ({"acuracy": {"at_least": 0.9}}, "the rule on acuracy: new has no such number: did you mean 'accuracy'?"),
    ({"accuracy": {"may_drop": 0.1}}, "the rule on accuracy is against a baseline: name it with --baseline, in Python with baseline="),
    ({"cross_entropy": {"at_most": 0.9}}, "the rule on cross_entropy: it is null in new: 3 NaN"),
    ({"accuracy": {"by": "country", "at_least": 0.9}}, "no slices by country: valid: g"),
    ({"accuracy": {"by": "g", "at_least": 0.9, "minimum": 501}}, "no slice by g has 501 examples"),
    ({"mean": {"at_least": 0.9}}, "it has no interval: there are neither replicates nor a standard error: evaluate with a bootstrap"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "words"), MISSING)
def test_a_rule_on_what_is_not_there_is_no_pass(rule, words):
    run = sliced(460, 450)
    run.numbers[WHOLE].update(cross_entropy=Number(None, "3 NaN", 1000), mean=Number(0.5, None, 1000))
    with pytest.raises(UsageError) as caught:
        judge(rule, run)
    assert words in str(caught.value)


def test_a_number_without_a_value_fails_a_rule_that_says_so():
    run = sliced(460, 450)
    run.numbers[WHOLE].update(cross_entropy=Number(None, "3 NaN", 1000))
    where = next(where for where in run.numbers if where != WHOLE)
    run.numbers[where]["accuracy"] = Number(None, "2 NaN", 500)
    for rule, words, place in (
        ({"cross_entropy": {"at_most": 0.9, "if_null": "fail"}}, "it is null in new: 3 NaN", ""),
        ({"accuracy": {"by": "g", "at_least": 0.99, "if_null": "fail"}}, "it is null in new: 2 NaN", slice_name(dict(where))),
    ):
        judgement = judge(rule, run)
        assert (judgement.verdict, judgement.value, judgement.reason, judgement.where) == (Verdict.FAIL, None, words, place)


@pytest.mark.parametrize(
    "rule", [{"accuracy": {"by": "g", "at_least": 0.9}}, {"gap": {"metric": "accuracy", "by": "g", "at_most": 0.1}}]
)
def test_a_run_without_slices_says_how_to_get_some(rule):
    with pytest.raises(
        UsageError, match="the rule on accuracy: new has no slices: add `slices:` to its job, and evaluate it again"
    ):
        judge(rule, side({WHOLE: {"accuracy": accuracy(460, 500)}}))


def test_a_baseline_that_asks_otherwise_is_no_baseline():
    run, before = (side({WHOLE: {"cross_entropy": loss(0.5)}}, name) for name in ("new", "old"))
    before.definitions["cross_entropy"] = {"metric": "cross_entropy", "label": "label2"}
    with pytest.raises(UsageError, match="do not ask the same: label is label2 and None"):
        judge({"cross_entropy": {"may_drop": 0.1}}, run, before)
    where = (("g", "b"),)
    run, before = (
        side({WHOLE: {}, where: {"accuracy": accuracy(450, 500)}}),
        side({WHOLE: {}, where: {"accuracy": accuracy(400, 499)}}, "old"),
    )
    with pytest.raises(UsageError, match="g=b has 499 examples in old and 500 in new: they are not the same"):
        judge({"accuracy": {"by": "g", "may_drop": 0.1}}, run, before)


def test_small_slices_are_not_judged_even_where_they_are_null():
    run = sliced(460, 450)
    run.numbers[("g", "z"),] = {"accuracy": Number(None, "nothing", 2)}
    rules = [{"accuracy": {"by": "g", "at_least": 0.5}}, {"gap": {"metric": "accuracy", "by": "g", "at_most": 0.5}}]
    found = gate(run, rules_of(rules, "x"))
    note = "1 slice of fewer than 30 examples is not judged: g=z"
    assert found.verdict is Verdict.PASS and found.notes == [note]  # once, whatever rules leave it out
    assert ElementTree.fromstring(gate_documents.junit(found, "new")).findtext("testsuite/system-out") == f"note: {note}\n"
    assert json.loads(gate_documents.to_json(found, "new", None))["notes"] == [note]
    assert f"\nNote: {note}\n" in gate_documents.to_markdown(found, "new")
    for name in "stuvwxy":
        run.numbers[("g", name),] = {"accuracy": accuracy(1, 2)}
    assert gate(run, rules_of(rules, "x")).notes == [
        "8 slices of fewer than 30 examples are not judged: g=z, g=s, g=t, g=u, g=v and 3 more"
    ]
    assert gate(sliced(460, 450), rules_of(rules, "x")).notes == []


def test_runs_that_never_differ_are_inconclusive_but_for_shares_of_examples():
    drawn = loss(0.5)
    found = judge(
        {"cross_entropy": {"may_drop": 0.1}}, side({WHOLE: {"cross_entropy": drawn}}), side({WHOLE: {"cross_entropy": drawn}})
    )
    assert found.verdict is Verdict.INCONCLUSIVE and "the same value in every replicate" in gate_documents.remark(found)


def test_rules_that_read_alike_keep_their_own_slices():
    run = sliced(460, 450)
    run.numbers[("g", "few"),] = {"accuracy": accuracy(20, 40)}
    rules = [{"accuracy": {"by": "g", "at_least": 0.8, "minimum": minimum}} for minimum in (30, 400)]
    found = gate(run, rules_of(rules, "x"))
    assert found.verdict is Verdict.FAIL and [len(judged) for judged in found.slices.values()] == [3, 2]
    suites = ElementTree.fromstring(gate_documents.junit(found, "new"))
    assert (suites.get("tests"), suites.get("failures")) == ("5", "1") and len(gate_documents.github(found).splitlines()) == 1
    text = "accuracy at least 0.8 in slices by g"
    slices = json.loads(gate_documents.to_json(found, "new", None))["slices"]
    assert {rule: len(judged) for rule, judged in slices.items()} == {f"{text} (minimum 30)": 3, f"{text} (minimum 400)": 2}


ALIKE = [
    {"at_least": 0.85},
    {"at_least": 0.85, "interval": False},
    {"at_least": 0.85, "level": 0.9},
    {"at_least": 0.8500001},
    {"at_least": 0.8500001},
]


def test_no_two_rules_of_a_gate_read_alike():
    run = sliced(490, 490, 490)
    rules = [{"accuracy": {"by": by, **rule}} for by in ("g", ["g"]) for rule in ALIKE]
    found = gate(run, rules_of([*rules, {"accuracy": {"at_least": 0.5}}, {"accuracy": {"at_least": 0.5}}], "x"))
    texts = [each.rule for each in found.judgements]
    assert len(set(texts)) == len(texts) and len(json.loads(gate_documents.to_json(found, "new", None))["slices"]) == len(rules)
    assert texts[-2:] == ["accuracy at least 0.5 (rule 11)", "accuracy at least 0.5 (rule 12)"]
    assert "(at_least 0.8500001, " in texts[3] and [each.title for each in found.judgements] == texts
    alone = gate(run, rules_of([rules[0]], "x")).judgements[0]
    assert alone.rule == "accuracy at least 0.85 in slices by g"


def test_documents_say_the_same():
    rules = [
        {"accuracy": {"by": "g", "at_least": 0.85}},
        {"accuracy": {"at_least": 0.5}},
        {"accuracy": {"at_least": 0.87, "level": 0.99}},
    ]
    run = sliced(460, 450, 400)
    run.numbers[("g", "<&>\x00"),] = run.numbers[("g", "c"),]
    found = gate(run, rules_of(rules, "x"))
    suites = ElementTree.fromstring(gate_documents.junit(found, "runs/new"))
    cases = list(suites.iter("testcase"))
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors"), len(cases)) == ("6", "2", "1", 6)
    assert [len(list(case)) for case in cases] == [0, 0, 1, 1, 0, 1] and cases[3].get("name").endswith("g=<&>�")
    document = json.loads(gate_documents.to_json(found, "runs/new", None))
    assert document["verdict"] == "FAIL" and [len(each) for each in document["slices"].values()] == [4]
    lines = gate_documents.github(found).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::warning"] and "%00" not in lines[0]
    assert gate_documents.to_markdown(found, "runs/new").startswith("**FAIL**: runs/new\n\n| rule | verdict |")
